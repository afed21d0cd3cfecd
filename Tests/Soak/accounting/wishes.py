"""What is asked for, and how a request is known again."""

TIMEOUT = 0.4  # of the route for what is slow
# What is asked for, and how often among the others. `service1` calls `service2` for what begins with /chain.
WISHES = {
    "/code/200": 30, "/code/201": 3, "/code/204": 3, "/code/301": 2, "/code/404": 4, "/code/429": 2, "/code/500": 4, "/code/503": 3,
    "/big": 2, "/retry/200": 4, "/retry/404": 1, "/tries/503": 2, "/reset": 2, "/close": 2, "/slow": 1, "/late": 2, "/later": 2,
    "/cut": 1,
    "/chain/200": 12, "/chain/404": 2, "/chain/500": 3, "/chain/reset": 1, "/nowhere": 2, "/dead": 2, "/direct": 2,
    "leave early": 2, "leave late": 2, "grpc 0": 8, "grpc 5": 2, "grpc 13": 2, "grpc 14": 1, "grpc cancel": 1, "grpc deadline": 1,
}
METHOD = "/accounts.Service/Call"  # of gRPC


def key(identifier):
    """An id without the place where proxies write the decision about tracing."""
    return identifier[:14] + identifier[15:]
