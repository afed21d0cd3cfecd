// The schema's types without the protobuf ceremony. The bare noun is the configuration; the living thing that is made
// from it is called `Active…` or says its role. Fields and defaults are described in `Protos/` and, generated from
// there, in `docs/configuration.md`.

import SwiftProtobuf

// MARK: Well-known types

/// A message of some type with the type's name: the form in which filters and other extensions are configured.
public typealias TypedConfig = Google_Protobuf_Any
/// A span of time as the schema has it; see `nanoseconds` for plain arithmetic.
public typealias DurationValue = Google_Protobuf_Duration
/// Anything: names and values as JSON has them.
public typealias StructValue = Google_Protobuf_Struct

// MARK: Bootstrap

public typealias Bootstrap = Envoy_Config_Bootstrap_V3_Bootstrap
public typealias Admin = Envoy_Config_Bootstrap_V3_Admin
public typealias StatsConfig = Envoy_Config_Metrics_V3_StatsConfig
public typealias StatsMatcher = Envoy_Config_Metrics_V3_StatsMatcher
public typealias LayeredRuntime = Envoy_Config_Bootstrap_V3_LayeredRuntime
public typealias RuntimeLayer = Envoy_Config_Bootstrap_V3_RuntimeLayer
public typealias Node = Envoy_Config_Core_V3_Node
public typealias Locality = Envoy_Config_Core_V3_Locality
public typealias Address = Envoy_Config_Core_V3_Address
public typealias SocketAddress = Envoy_Config_Core_V3_SocketAddress
public typealias TrafficDirection = Envoy_Config_Core_V3_TrafficDirection
public typealias RoutingPriority = Envoy_Config_Core_V3_RoutingPriority
public typealias CidrRange = Envoy_Config_Core_V3_CidrRange
public typealias TypedExtensionConfig = Envoy_Config_Core_V3_TypedExtensionConfig
public typealias DataSource = Envoy_Config_Core_V3_DataSource

public typealias OverloadManager = Envoy_Config_Overload_V3_OverloadManager
public typealias DownstreamConnectionsConfig =
  Envoy_Extensions_ResourceMonitors_DownstreamConnections_V3_DownstreamConnectionsConfig

// MARK: Listeners

public typealias Listener = Envoy_Config_Listener_V3_Listener
public typealias FilterChain = Envoy_Config_Listener_V3_FilterChain
public typealias FilterChainMatch = Envoy_Config_Listener_V3_FilterChainMatch
/// A network filter of a listener's filter chain.
public typealias NetworkFilter = Envoy_Config_Listener_V3_Filter
public typealias HttpConnectionManager = Envoy_Extensions_Filters_Network_HttpConnectionManager_V3_HttpConnectionManager
public typealias TcpProxy = Envoy_Extensions_Filters_Network_TcpProxy_V3_TcpProxy
public typealias HttpFilter = Envoy_Extensions_Filters_Network_HttpConnectionManager_V3_HttpFilter
/// Limits and times for every HTTP version (`envoy.config.core.v3.HttpProtocolOptions`), downstream and upstream.
public typealias HttpProtocolOptions = Envoy_Config_Core_V3_HttpProtocolOptions
public typealias Http1ProtocolOptions = Envoy_Config_Core_V3_Http1ProtocolOptions
public typealias Http2ProtocolOptions = Envoy_Config_Core_V3_Http2ProtocolOptions
public typealias KeepaliveSettings = Envoy_Config_Core_V3_KeepaliveSettings
public typealias XffConfig = Envoy_Extensions_Http_OriginalIpDetection_Xff_V3_XffConfig
public typealias CustomHeaderConfig = Envoy_Extensions_Http_OriginalIpDetection_CustomHeader_V3_CustomHeaderConfig
public typealias PreserveCaseFormatterConfig =
  Envoy_Extensions_Http_HeaderFormatters_PreserveCase_V3_PreserveCaseFormatterConfig
public typealias UuidRequestIdConfig = Envoy_Extensions_RequestId_Uuid_V3_UuidRequestIdConfig

// MARK: HTTP filters

public typealias Router = Envoy_Extensions_Filters_Http_Router_V3_Router
public typealias Buffer = Envoy_Extensions_Filters_Http_Buffer_V3_Buffer
public typealias BufferPerRoute = Envoy_Extensions_Filters_Http_Buffer_V3_BufferPerRoute
public typealias GrpcMethodList = Envoy_Config_Core_V3_GrpcMethodList
public typealias GrpcStatsConfig = Envoy_Extensions_Filters_Http_GrpcStats_V3_FilterConfig
public typealias GrpcBridgeConfig = Envoy_Extensions_Filters_Http_GrpcHttp1Bridge_V3_Config
public typealias GrpcWebConfig = Envoy_Extensions_Filters_Http_GrpcWeb_V3_GrpcWeb
public typealias HTTPFault = Envoy_Extensions_Filters_Http_Fault_V3_HTTPFault
public typealias FaultAbort = Envoy_Extensions_Filters_Http_Fault_V3_FaultAbort
public typealias FaultDelay = Envoy_Extensions_Filters_Common_Fault_V3_FaultDelay
public typealias FractionalPercent = Envoy_Type_V3_FractionalPercent
public typealias RuntimeFractionalPercent = Envoy_Config_Core_V3_RuntimeFractionalPercent

// MARK: Access logs

public typealias AccessLog = Envoy_Config_Accesslog_V3_AccessLog
public typealias FileAccessLog = Envoy_Extensions_AccessLoggers_File_V3_FileAccessLog
public typealias StdoutAccessLog = Envoy_Extensions_AccessLoggers_Stream_V3_StdoutAccessLog
public typealias StderrAccessLog = Envoy_Extensions_AccessLoggers_Stream_V3_StderrAccessLog
public typealias SubstitutionFormatString = Envoy_Config_Core_V3_SubstitutionFormatString
public typealias AccessLogFilter = Envoy_Config_Accesslog_V3_AccessLogFilter
/// A comparison with a number that the runtime can replace.
public typealias ComparisonFilter = Envoy_Config_Accesslog_V3_ComparisonFilter
public typealias MetadataMatcher = Envoy_Type_Matcher_V3_MetadataMatcher
public typealias ValueMatcher = Envoy_Type_Matcher_V3_ValueMatcher
public typealias RuntimeUInt32 = Envoy_Config_Core_V3_RuntimeUInt32

// MARK: Local replies

public typealias LocalReplyConfig = Envoy_Extensions_Filters_Network_HttpConnectionManager_V3_LocalReplyConfig
public typealias ResponseMapper = Envoy_Extensions_Filters_Network_HttpConnectionManager_V3_ResponseMapper

// MARK: Routes

public typealias RouteConfiguration = Envoy_Config_Route_V3_RouteConfiguration
public typealias VirtualHost = Envoy_Config_Route_V3_VirtualHost
public typealias VirtualCluster = Envoy_Config_Route_V3_VirtualCluster
public typealias Route = Envoy_Config_Route_V3_Route
public typealias RouteMatch = Envoy_Config_Route_V3_RouteMatch
public typealias RouteAction = Envoy_Config_Route_V3_RouteAction
public typealias WeightedCluster = Envoy_Config_Route_V3_WeightedCluster
public typealias RedirectAction = Envoy_Config_Route_V3_RedirectAction
public typealias DirectResponseAction = Envoy_Config_Route_V3_DirectResponseAction
public typealias RequestMirrorPolicy = Envoy_Config_Route_V3_RouteAction.RequestMirrorPolicy
public typealias RouteDecorator = Envoy_Config_Route_V3_Decorator
public typealias HeaderMatcher = Envoy_Config_Route_V3_HeaderMatcher
public typealias QueryParameterMatcher = Envoy_Config_Route_V3_QueryParameterMatcher
public typealias CookieMatcher = Envoy_Config_Route_V3_CookieMatcher
/// What a route says to a filter, with whether the filter sees its requests (`envoy.config.route.v3.FilterConfig`).
public typealias RouteFilterConfig = Envoy_Config_Route_V3_FilterConfig
public typealias StringMatcher = Envoy_Type_Matcher_V3_StringMatcher
public typealias RegexMatcher = Envoy_Type_Matcher_V3_RegexMatcher
public typealias RegexMatchAndSubstitute = Envoy_Type_Matcher_V3_RegexMatchAndSubstitute
public typealias Metadata = Envoy_Config_Core_V3_Metadata
public typealias HeaderValue = Envoy_Config_Core_V3_HeaderValue
public typealias HeaderValueOption = Envoy_Config_Core_V3_HeaderValueOption

// MARK: Clusters

public typealias Cluster = Envoy_Config_Cluster_V3_Cluster
public typealias CircuitBreakers = Envoy_Config_Cluster_V3_CircuitBreakers
public typealias ClusterLoadAssignment = Envoy_Config_Endpoint_V3_ClusterLoadAssignment
public typealias LocalityLbEndpoints = Envoy_Config_Endpoint_V3_LocalityLbEndpoints
public typealias LbEndpoint = Envoy_Config_Endpoint_V3_LbEndpoint
public typealias Endpoint = Envoy_Config_Endpoint_V3_Endpoint
public typealias HealthStatus = Envoy_Config_Core_V3_HealthStatus
/// A cluster's options of the upstream protocol (`envoy.extensions.upstreams.http.v3.HttpProtocolOptions`).
public typealias UpstreamHttpProtocolOptions = Envoy_Extensions_Upstreams_Http_V3_HttpProtocolOptions
public typealias RuntimeDouble = Envoy_Config_Core_V3_RuntimeDouble
public typealias LoadBalancingPolicy = Envoy_Config_Cluster_V3_LoadBalancingPolicy
public typealias UpstreamConnectionOptions = Envoy_Config_Cluster_V3_UpstreamConnectionOptions
public typealias RoundRobinPolicy = Envoy_Extensions_LoadBalancingPolicies_RoundRobin_V3_RoundRobin
public typealias LeastRequestPolicy = Envoy_Extensions_LoadBalancingPolicies_LeastRequest_V3_LeastRequest
public typealias RandomPolicy = Envoy_Extensions_LoadBalancingPolicies_Random_V3_Random
public typealias CaresDnsResolverConfig = Envoy_Extensions_Network_DnsResolver_Cares_V3_CaresDnsResolverConfig
/// A cluster of names as an extension (`cluster_type`).
public typealias DnsCluster = Envoy_Extensions_Clusters_Dns_V3_DnsCluster
public typealias DnsResolverOptions = Envoy_Config_Core_V3_DnsResolverOptions
public typealias DnsResolutionConfig = Envoy_Config_Core_V3_DnsResolutionConfig

// MARK: Sockets

public typealias Pipe = Envoy_Config_Core_V3_Pipe
public typealias BindConfig = Envoy_Config_Core_V3_BindConfig
public typealias TcpKeepalive = Envoy_Config_Core_V3_TcpKeepalive
public typealias SocketOption = Envoy_Config_Core_V3_SocketOption
public typealias AdditionalAddress = Envoy_Config_Listener_V3_AdditionalAddress

// MARK: TLS

public typealias TransportSocket = Envoy_Config_Core_V3_TransportSocket
/// What requests say for the TLS of their connections (`envoy.config.core.v3.UpstreamHttpProtocolOptions`).
public typealias RequestTLSOptions = Envoy_Config_Core_V3_UpstreamHttpProtocolOptions
public typealias RawBuffer = Envoy_Extensions_TransportSockets_RawBuffer_V3_RawBuffer
public typealias DownstreamTlsContext = Envoy_Extensions_TransportSockets_Tls_V3_DownstreamTlsContext
public typealias UpstreamTlsContext = Envoy_Extensions_TransportSockets_Tls_V3_UpstreamTlsContext
/// What is the same for clients and servers (`CommonTlsContext`).
public typealias SharedTlsContext = Envoy_Extensions_TransportSockets_Tls_V3_CommonTlsContext
public typealias TlsParameters = Envoy_Extensions_TransportSockets_Tls_V3_TlsParameters
public typealias TlsCertificate = Envoy_Extensions_TransportSockets_Tls_V3_TlsCertificate
public typealias CertificateValidationContext = Envoy_Extensions_TransportSockets_Tls_V3_CertificateValidationContext
public typealias SanMatcher = Envoy_Extensions_TransportSockets_Tls_V3_SubjectAltNameMatcher
public typealias TlsSessionTicketKeys = Envoy_Extensions_TransportSockets_Tls_V3_TlsSessionTicketKeys
public typealias SdsSecretConfig = Envoy_Extensions_TransportSockets_Tls_V3_SdsSecretConfig
public typealias Secret = Envoy_Extensions_TransportSockets_Tls_V3_Secret
public typealias ConfigSource = Envoy_Config_Core_V3_ConfigSource
public typealias DiscoveryResponse = Envoy_Service_Discovery_V3_DiscoveryResponse
