import MeshIO
import MeshPrimitives

// The certificates in use, as `envoy.admin.v3.Certificates`.

extension AdminEndpoint {
  static let certs = AdminEndpoint("/certs", "print certs on machine") { _, context in
    let now = Int64(ProcessClock.wall() / 1_000_000_000)
    var writer = JSONWriter()
    writer.beginObject()
    writer.name("certificates")
    writer.beginArray()
    for tls in context.tlsContexts {
      writer.beginObject()
      let authorities = tls.authorities.prefix(1).map { ($0, tls.authoritySource ?? "") }
      write(authorities, "ca_cert", at: now, &writer)
      write(tls.ownCertificates.map { ($0.facts, $0.source) }, "cert_chain", at: now, &writer)
      writer.endObject()
    }
    writer.endArray()
    writer.endObject()
    return .json(writer)
  }

  private static func write(
    _ certificates: [(facts: CertificateFacts, source: String)], _ name: String, at now: Int64,
    _ writer: inout JSONWriter
  ) {
    func text(_ name: String, _ value: String) {
      writer.name(name)
      writer.string(value)
    }
    writer.name(name)
    writer.beginArray()
    for (facts, source) in certificates {
      writer.beginObject()
      text("path", source.contains("/") ? source : "<\(source)>")
      text("serial_number", facts.serialNumber)
      writer.name("subject_alt_names")
      writer.beginArray()
      for (kind, names) in [("dns", facts.dnsNames), ("uri", facts.uris), ("ip_address", facts.addresses)] {
        for name in names {
          writer.beginObject()
          text(kind, name)
          writer.endObject()
        }
      }
      writer.endArray()
      text("days_until_expiration", "\(facts.daysLeft(at: now))")
      text("valid_from", date(facts.notBefore))
      text("expiration_time", date(facts.notAfter))
      writer.endObject()
    }
    writer.endArray()
  }

  /// `2020-01-01T00:00:00Z`
  private static func date(_ seconds: Int64) -> String {
    let text = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: ISO8601.length) { buffer in
      guard let base = buffer.baseAddress else { return "" }
      ISO8601.write(unixMilliseconds: seconds * 1000, into: base)
      return String(decoding: buffer, as: UTF8.self)
    }
    return String(text.prefix { $0 != "." }) + "Z"
  }
}
