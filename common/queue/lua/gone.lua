-- gone: a process died, and with it its calls: acquire may give their places in flight away.
-- KEYS 1 gone
-- ARGV 1 prefix of its tokens  2 most remembered  3 life ms
-- -> how many are remembered
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1], ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return redis.call('ZCARD', KEYS[1])
