import MeshIO
import MeshPrimitives
final class AdminServer { init(loop: EventLoop, context: Proxy, descriptors: [Int32], address: SocketAddress) {}; func startAccepting() {} }
