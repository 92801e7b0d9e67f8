-- bury: ready or delayed -> dead, by hand: a purge, a cancelled job.
-- KEYS 1 ready or delayed  2 dead  3 outbox
-- ARGV (member, failed_at ms, letter, entry)*      entry: what its run is told (run.lua), "" = it has none
-- -> 1 or 0 for each: 0 = it is not there (any more), nothing was done with it
-- What stays in the ring for no job costs one visit.
redis.call('ZCARD', KEYS[2])
redis.call('LLEN', KEYS[3])
local out = {}
for at = 1, #ARGV, 4 do
	local gone = redis.call('ZREM', KEYS[1], ARGV[at])
	if gone == 1 then
		redis.call('ZADD', KEYS[2], ARGV[at + 1], ARGV[at + 2])
		if ARGV[at + 3] ~= '' then redis.call('LPUSH', KEYS[3], ARGV[at + 3]) end
	end
	out[#out + 1] = gone
end
return out
