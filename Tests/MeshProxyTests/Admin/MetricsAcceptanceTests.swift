import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite struct MetricsAcceptanceTests {
  @Test(arguments: [
    ("", MetricsReport.Exposition.text),
    ("*/*", .text),
    ("text/plain;version=0.0.4", .text),
    ("text/html, application/json", .text),
    ("application/openmetrics-text", .openMetrics),
    // Prometheus 2.42.
    (
      "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
        + "text/plain;version=0.0.4;q=0.5,*/*;q=0.1", .openMetrics
    ),
    // With native histograms.
    (
      "application/vnd.google.protobuf;proto=io.prometheus.client.metricfamily;encoding=delimited,"
        + "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5", .protobuf
    ),
    ("application/vnd.google.protobuf;proto=other;encoding=delimited", .text),
    ("application/openmetrics-text;version=2.0.0", .text),
    ("application/openmetrics-text;q=0", .text),
    ("application/openmetrics-text;q=0.1, text/plain;q=0.2", .text),
    ("text/plain; q=0.2 , application/openmetrics-text ; version=1.0.0 ; q=0.3", .openMetrics),
    ("application/openmetrics-text;q=nan", .text), ("application/openmetrics-text;q=7", .text), (";;,=,;q=", .text),
  ])
  func chooses(_ accept: String, _ exposition: MetricsReport.Exposition) {
    #expect(MetricsAcceptance(accept).exposition == exposition)
  }
}
