// swift-tools-version: 6.2
import PackageDescription

/// Warnings are errors everywhere. The data plane's release build switches off the run-time exclusivity checks
/// (one thread owns everything it touches; see docs/threading.md) and lets small functions be inlined across rooms.
let strict: [SwiftSetting] = [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]
let dataPlane: [SwiftSetting] =
  strict + [
    .unsafeFlags(["-enforce-exclusivity=unchecked", "-cross-module-optimization"], .when(configuration: .release))
  ]
let protobuf: Target.Dependency = .product(name: "SwiftProtobuf", package: "swift-protobuf")

let package = Package(
  name: "martlet",
  products: [
    .executable(name: "martlet-proxy", targets: ["martlet-proxy"])
  ],
  dependencies: [
    // `traits: []` keeps Foundation and ICU out of the data plane.
    .package(url: "https://github.com/apple/swift-protobuf", exact: "1.39.0", traits: [])
  ],
  targets: [
    // 0: C doors. Module maps and shim headers, no logic.
    .target(name: "CLinux", cSettings: [.unsafeFlags(["-O2"], .when(configuration: .release))]),
    .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
    .target(
      name: "CRE2", cxxSettings: [.unsafeFlags(["-O2"], .when(configuration: .release))],
      linkerSettings: [.linkedLibrary("re2"), .linkedLibrary("stdc++")]),
    .systemLibrary(name: "CCAres", pkgConfig: "libcares", providers: [.apt(["libc-ares-dev"])]),
    .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CNGHTTP2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),

    // 1–4: the rooms. Dependencies point downward only; scripts/soundness holds this.
    .target(name: "MeshPrimitives", dependencies: ["CRE2"], swiftSettings: dataPlane),
    .target(name: "MeshAPI", dependencies: [protobuf], exclude: ["Protos"], swiftSettings: strict),
    .target(
      name: "MeshIO", dependencies: ["MeshPrimitives", "CLinux", "CCAres", "COpenSSL"], swiftSettings: dataPlane),
    .target(name: "MeshConfig", dependencies: ["MeshAPI", "MeshPrimitives", "CYAML", protobuf], swiftSettings: strict),
    .target(name: "MeshRouting", dependencies: ["MeshAPI", "MeshPrimitives"], swiftSettings: dataPlane),
    .target(name: "MeshHTTP", dependencies: ["MeshIO", "MeshPrimitives", "CNGHTTP2"], swiftSettings: dataPlane),
    .target(
      name: "MeshProxy",
      dependencies: ["MeshConfig", "MeshRouting", "MeshHTTP", "MeshIO", "MeshAPI", "MeshPrimitives"],
      swiftSettings: dataPlane),

    // 5: programs.
    .executableTarget(name: "martlet-proxy", dependencies: ["MeshProxy"], swiftSettings: dataPlane),

    // Tests mirror the rooms.
    .target(name: "MeshTesting", dependencies: ["MeshPrimitives"], path: "Tests/MeshTesting", swiftSettings: strict),
    .testTarget(name: "MeshPrimitivesTests", dependencies: ["MeshPrimitives", "MeshTesting"], swiftSettings: strict),
    .testTarget(name: "MeshConfigTests", dependencies: ["MeshConfig", "MeshTesting"], swiftSettings: strict),
    .testTarget(name: "MeshIOTests", dependencies: ["MeshIO", "MeshTesting"], swiftSettings: strict),
    .target(
      name: "FuzzChecks", dependencies: ["MeshHTTP", "MeshIO", "MeshPrimitives"], path: "Tests/Fuzz/Checks",
      swiftSettings: strict),
    .testTarget(
      name: "MeshHTTPTests", dependencies: ["MeshHTTP", "FuzzChecks", "MeshTesting"], swiftSettings: strict),
    .testTarget(
      name: "MeshRoutingTests", dependencies: ["MeshRouting", "MeshConfig", "MeshTesting"], swiftSettings: strict),
    .testTarget(name: "MeshProxyTests", dependencies: ["MeshProxy", "MeshTesting"], swiftSettings: strict),
    .testTarget(name: "IntegrationTests", dependencies: ["MeshTesting"], swiftSettings: strict),
  ]
)

// scripts/fuzz: the checks as libFuzzer programs, what they check instrumented, and nothing else.
if Context.environment["MARTLET_FUZZ"] != nil {
  let instrumented: Set = ["MeshPrimitives", "MeshIO", "MeshHTTP", "FuzzChecks"]
  package.products = []
  package.dependencies = []
  let doors: Set = ["CLinux", "CCAres", "COpenSSL", "CRE2", "CNGHTTP2"]
  package.targets.removeAll { !instrumented.contains($0.name) && !doors.contains($0.name) }
  for target in package.targets where instrumented.contains(target.name) {
    let sanitizers = target.name == "FuzzChecks" ? "address" : "fuzzer,address"
    target.swiftSettings = strict + [.unsafeFlags(["-O", "-sanitize=\(sanitizers)", "-parse-as-library"])]
  }
  for name in ["fuzz-request-parser", "fuzz-response-parser", "fuzz-body-decoder", "fuzz-http2-server"] {
    package.targets.append(
      .executableTarget(
        name: name, dependencies: ["FuzzChecks"], path: "Tests/Fuzz/Fuzzers/\(name)",
        linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address", "-use-ld=lld"])]))
  }
}
