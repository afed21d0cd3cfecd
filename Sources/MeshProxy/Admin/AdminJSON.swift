/// A JSON value (RFC 8259), as far as the command line options need it.
public indirect enum AdminJSON: Sendable, Equatable {
  case bool(Bool)
  case integer(Int64)
  case string(String)
  case array([AdminJSON])
}
