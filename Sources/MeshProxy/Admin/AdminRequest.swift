import MeshHTTP
import MeshPrimitives

/// A request to the admin interface, taken apart.
struct AdminRequest {
  let method: HTTPMethod
  /// The method as it was sent.
  let methodName: String
  /// The path with the query, as it was sent.
  let target: String
  /// The path without the query, as it was sent.
  let path: String
  /// The parameters in order, percent-decoded: of the query, or of the body if that is a form.
  var parameters: [(name: String, value: String)]
  /// `Host` in lower case.
  let host: String
  /// `Origin` in lower case; nil if there is none.
  let origin: String?
  /// `Sec-Fetch-Site` in lower case; nil if there is none.
  let fetchSite: String?
  /// `Accept` in lower case, empty if there is none.
  let accept: String
  /// The body is `application/x-www-form-urlencoded`.
  let hasForm: Bool

  private static let acceptName = HeaderName("accept")
  private static let originName = HeaderName("origin")
  private static let fetchSiteName = HeaderName("sec-fetch-site")

  init(_ headers: HeaderMap, method: HTTPMethod) {
    self.method = method
    methodName = headers.value(.method)?.text ?? "GET"
    target = headers.value(.path)?.text ?? ""
    let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    path = String(parts[0])
    parameters = parts.count > 1 ? Self.parameters(in: parts[1]) : []
    host = headers.value(.host)?.text.lowercased() ?? ""
    origin = headers.value(Self.originName)?.text.lowercased()
    accept = headers.value(Self.acceptName)?.text.lowercased() ?? ""
    fetchSite = headers.value(Self.fetchSiteName)?.text.lowercased()
    let type = headers.value(.contentType)?.text.lowercased() ?? ""
    hasForm = type.split(separator: ";").first?.trimmingSpaces == "application/x-www-form-urlencoded"
  }

  /// The value of the first parameter of this name; empty if it has none.
  func parameter(_ name: String) -> String? { parameters.first { $0.name == name }?.value }

  /// Whether a parameter that needs no value is set: it is there, and does not say `false` or `0`.
  func isSet(_ name: String) -> Bool {
    guard let value = parameter(name) else { return false }
    return value != "false" && value != "0"
  }

  /// The parameters of a query or a form. A plus sign is a plus sign, as in Envoy: regular expressions need it.
  static func parameters(in text: some StringProtocol) -> [(name: String, value: String)] {
    text.split(separator: "&").map { pair in
      let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      return (percentDecoded(parts[0]), parts.count > 1 ? percentDecoded(parts[1]) : "")
    }
  }

  /// `text` with `%XX` replaced; what is no such sequence stays. Bytes that are no UTF-8 become U+FFFD.
  static func percentDecoded(_ text: some StringProtocol) -> String {
    var result: [UInt8] = []
    let bytes = Array(text.utf8)
    var index = 0
    while index < bytes.count {
      if bytes[index] == UInt8(ascii: "%"), index + 2 < bytes.count, let high = hexDigit(bytes[index + 1]),
        let low = hexDigit(bytes[index + 2])
      {
        result.append(high << 4 | low)
        index += 3
      } else {
        result.append(bytes[index])
        index += 1
      }
    }
    return String(decoding: result, as: UTF8.self)
  }

  private static func hexDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x41...0x46: byte - 0x37
    case 0x61...0x66: byte - 0x57
    default: nil
    }
  }

  // MARK: Cross-site requests

  /// Whether a page of another site may have made a browser send this request: then it must not change anything.
  ///
  /// Browsers name the page's origin in every POST. It must be the origin that the request goes to. That alone would let
  /// a page pass whose own name was made to resolve to this machine (DNS rebinding), so that with an `Origin` the host
  /// must also be an address or `localhost`, which no one else can own. Programs that are no browsers send no `Origin`.
  var isCrossSite: Bool {
    if let fetchSite, fetchSite != "same-origin", fetchSite != "none" { return true }
    guard let origin else { return false }
    guard origin == "http://\(host)" || origin == "https://\(host)" else { return true }
    return !Self.isFixedName(host)
  }

  /// Whether `host`, with or without a port, is an IP address or a name that always means this machine.
  private static func isFixedName(_ host: String) -> Bool {
    var name = Substring(host)
    if name.hasPrefix("[") {
      name = name.dropFirst().prefix { $0 != "]" }
    } else if let colon = name.lastIndex(of: ":") {
      name = name[..<colon]
    }
    return name == "localhost" || name.hasSuffix(".localhost") || IPAddress(String(name)) != nil
  }
}

extension Substring {
  /// Without spaces and tabs at both ends.
  fileprivate var trimmingSpaces: Substring {
    var rest = self
    while let first = rest.first, first == " " || first == "\t" { rest.removeFirst() }
    while let last = rest.last, last == " " || last == "\t" { rest.removeLast() }
    return rest
  }
}
