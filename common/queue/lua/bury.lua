-- bury: ready or delayed -> dead, by hand: a purge, a cancelled job.  Its keys are free, as if it had died.
-- KEYS 1 ready or delayed  2 dead  3 outbox  4… unique, idem
-- ARGV (member, failed_at ms, letter, entry, the job's id, first of its keys in KEYS, how many)*
--      entry: what its run is told (run.lua), "" = it has none
-- -> 1 or 0 for each: 0 = it is not there (any more), nothing was done with it
-- What stays in the ring for no job costs one visit.

-- As settle.lua's X, for an owner that waits (W) or was given back (R): whoever is to follow it may run; one that was
-- to follow does so no more.  Anybody else's key is left alone.
local function free(name, id)
	local value = redis.pcall('GET', name)
	if type(value) ~= 'string' then return end
	local state, born, owner, more, label = string.match(value, '^([RW]) (%d+) (%S+) (%S+) (.*)$')
	if not state then return end
	local next_born, next_id = string.match(more, '^(%d+),(.+)$')
	if owner == id and next_id then
		redis.call('SET', name, 'W ' .. next_born .. ' ' .. next_id .. ' - ' .. next_id, 'PX', 86400000)
	elseif owner == id then
		redis.call('DEL', name)
	elseif next_id == id then
		redis.call('SET', name, state .. ' ' .. born .. ' ' .. owner .. ' - ' .. label, 'KEEPTTL')
	end
end

redis.call('ZCARD', KEYS[2])
redis.call('LLEN', KEYS[3])
local out = {}
for at = 1, #ARGV, 7 do
	local member, failed_at, letter, entry, id, first, n = unpack(ARGV, at, at + 6)
	local gone = redis.call('ZREM', KEYS[1], member)
	if gone == 1 then
		redis.call('ZADD', KEYS[2], failed_at, letter)
		if entry ~= '' then redis.call('LPUSH', KEYS[3], entry) end
		for k = tonumber(first), first + n - 1 do free(KEYS[k], id) end
	end
	out[#out + 1] = gone
end
return out
