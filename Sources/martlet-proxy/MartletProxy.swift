@main
struct MartletProxy {
  static func main() {}
}
