-- spawn: a job that runs on puts children into its own queue, and into its run; one with a seen key at most once.
-- KEYS 1-3 ready  4-6 ring  7 seq  8 flight  9 run, or outbox where the run is at home elsewhere  10… seen
-- ARGV 1 lease  2 root, kin or away  3 run  4 the job's id  5 life of a run, ms; away: the outbox entry, to which the
--      children's ids are added  6 life of a seen key, ms
--      then for each child: id lane integration place bytes    place of its seen key in KEYS, 0 = none;
--      bytes = " I HEADER\nPAYLOAD"
-- -> children that were new, or -1: the lease is not held, nothing happened
-- A root joins its own run, and its header keeps it: another attempt goes on in the same one.  A child that was queued
-- before does not join again: it may have ended.
local find, sub = string.find, string.sub
local who, run = ARGV[2], ARGV[3]
for key = 1, 6 do redis.call('ZCARD', KEYS[key]) end
assert(tonumber(redis.call('GET', KEYS[7]) or 0), KEYS[7] .. ' is no number')
redis.call(who == 'away' and 'LLEN' or 'HLEN', KEYS[9])
local member = redis.call('HGET', KEYS[8], ARGV[1])
if not member then return -1 end

local new = {}
for at = 7, #ARGV, 5 do
	local seen = KEYS[tonumber(ARGV[at + 3])]
	if not seen or redis.call('SET', seen, '1', 'NX', 'PX', ARGV[6]) then new[#new + 1] = at end
end
if #new == 0 then return 0 end

if who == 'away' then
	local entry = ARGV[5]
	for j = 1, #new do entry = entry .. ' ' .. ARGV[new[j]] end
	redis.call('LPUSH', KEYS[9], entry)
elseif who == 'root' or redis.call('HEXISTS', KEYS[9], ARGV[4]) == 1 then
	if who == 'root' then
		local newline = find(member, '\n', 1, true)
		if newline and not find(sub(member, 1, newline), ' run=', 1, true) then
			redis.call('HSET', KEYS[8], ARGV[1],
				sub(member, 1, newline - 1) .. ' run=' .. run .. sub(member, newline))
		end
		redis.call('HSET', KEYS[9], ARGV[4], '')
	end
	for j = 1, #new do redis.call('HSET', KEYS[9], ARGV[new[j]], '') end
	redis.call('PEXPIRE', KEYS[9], ARGV[5])
end

local rings = {{}, {}, {}}
for j = 1, #new do
	local at = new[j]
	local lane = tonumber(ARGV[at + 1])
	local seq = redis.call('INCR', KEYS[7])
	redis.call('ZADD', KEYS[lane], ARGV[at + 2], string.format('1%014d', seq) .. ARGV[at + 4])
	rings[lane][ARGV[at + 2]] = true
end
for lane = 1, 3 do
	local newest = redis.call('ZRANGE', KEYS[3 + lane], -1, -1, 'WITHSCORES')
	local turn = tonumber(newest[2] or '0')
	for integration in pairs(rings[lane]) do
		turn = turn + 1
		redis.call('ZADD', KEYS[3 + lane], 'NX', turn, integration)
	end
end
return #new
