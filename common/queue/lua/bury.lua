-- bury: ready or delayed -> dead, by hand: a purge, a cancelled job.  Its keys are free, as if it had died.
-- KEYS 1 ready or delayed  2 dead  3 outbox  4 packed  5… unique, idem
-- ARGV 1 lane, then (member, pack, failed_at ms, letter, entry, the job's id, first of its keys in KEYS, how many)*
--      pack: "" or the pack that it may stand in, which is opened (job.h); entry: what its run is told (run.lua), "" = it has none;
--      letter: "" = none is kept, for something else does the job's work
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

-- Every job of it becomes a member of its own.
local function open(pack)
	local integration = pack ~= '' and redis.call('ZSCORE', KEYS[1], pack)
	if not integration then return end
	local seq, before, count, from = string.match(pack, '^%d(%d+)( %d+ )x(%d+) %d+ %d+ %d+\n()')
	local add, item = {}, nil
	for j = 0, count - 1 do
		item, from = struct.unpack('>I4c0', pack, from)
		add[2 * j + 1] = integration
		add[2 * j + 2] = string.format('%s%014.0f', string.sub(pack, 1, 1), seq + j) .. before .. item
	end
	redis.call('ZREM', KEYS[1], pack)
	redis.call('ZADD', KEYS[1], unpack(add))
	for _, field in ipairs({ARGV[1], ARGV[1] .. ':' .. string.match(before, '%d+')}) do
		if redis.call('HINCRBY', KEYS[4], field, 1 - count) <= 0 then redis.call('HDEL', KEYS[4], field) end
	end
end

redis.call('ZCARD', KEYS[2])
redis.call('HLEN', KEYS[4])
redis.call('LLEN', KEYS[3])
local out = {}
for at = 2, #ARGV, 8 do
	local member, pack, failed_at, letter, entry, id, first, n = unpack(ARGV, at, at + 7)
	open(pack)
	local gone = redis.call('ZREM', KEYS[1], member)
	if gone == 1 then
		if letter ~= '' then redis.call('ZADD', KEYS[2], failed_at, letter) end
		if entry ~= '' then redis.call('LPUSH', KEYS[3], entry) end
		for k = tonumber(first), first + n - 1 do free(KEYS[k], id) end
	end
	out[#out + 1] = gone
end
return out
