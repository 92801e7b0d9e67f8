"""Leases, straight from Redis."""


def busy_is_exact(cluster, partner="guesty"):
    """What `doctor` recounts: busy of an integration is the number of its leases."""
    with cluster.redis.client.pipeline(transaction=True) as pipe:  # both as of the same moment
        pipe.hkeys(f"flight:{{{partner}}}")
        pipe.hgetall(f"busy:{{{partner}}}")
        leases, busy = pipe.execute()
    count = {}
    for lease in leases:
        integration = lease.split(b":")[3]
        count[integration] = count.get(integration, 0) + 1
    return {integration: int(n) for integration, n in busy.items()} == count
