-- shelve: an outbox entry that is none -> dead.
-- KEYS 1 outbox  2 dead
-- ARGV 1 the entry, exactly  2 failed_at ms  3 its letter
-- -> 1, or 0: another relay was faster
redis.call('ZCARD', KEYS[2])
if redis.call('LREM', KEYS[1], -1, ARGV[1]) == 0 then return 0 end
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[3])
return 1
