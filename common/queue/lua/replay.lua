-- replay: dead -> ready.
-- KEYS 1 dead  2 ready  3 ring  4 seq
-- ARGV 1 the letter, exactly  2 integration  3 " I HEADER\nPAYLOAD"
-- -> 1, or 0: the letter is not there (any more), nothing was done
redis.call('ZCARD', KEYS[2])
assert(tonumber(redis.call('GET', KEYS[4]) or 0), KEYS[4] .. ' is no number')
local newest = redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
local seq = redis.call('INCR', KEYS[4])
redis.call('ZADD', KEYS[2], ARGV[2], string.format('1%014.0f', seq) .. ARGV[3])
redis.call('ZADD', KEYS[3], 'NX', tonumber(newest[2] or '0') + 1, ARGV[2])
return 1
