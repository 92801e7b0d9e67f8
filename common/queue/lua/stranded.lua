-- stranded: who has ready jobs, is below its cap, behind no breaker, and stands in no ring.  There must be none; puts them in if asked to.
-- KEYS 1 control  2 busy  3 ready  4 ring, of one lane  5 breakers
-- ARGV 1 integration to begin after (-1 = from the start)  2 most integrations  3 "1": repair
-- -> {stranded, last integration looked at, or "" at the end}
local format = string.format
local after, ids = ARGV[1], {}
local done = false
while #ids < tonumber(ARGV[2]) do
	local first = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. after, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
	if #first == 0 then
		done = true
		break
	end
	after = format('%.0f', tonumber(first[2]))
	ids[#ids + 1] = after
end
local function shut(host)
	local state = host and redis.call('HGET', KEYS[5], host)
	return state and string.find(state, '^closed') == nil
end
local stranded = 0
if #ids > 0 then
	local default = tonumber(redis.call('HGET', KEYS[1], 'default') or '0')
	local caps = redis.call('HMGET', KEYS[1], unpack(ids))
	local busy = redis.call('HMGET', KEYS[2], unpack(ids))
	local names = {}
	for j = 1, #ids do names[j] = 'host:' .. ids[j] end
	local hosts = redis.call('HMGET', KEYS[1], unpack(names))
	local host = redis.call('HGET', KEYS[1], 'host')
	local newest = redis.call('ZRANGE', KEYS[4], -1, -1, 'WITHSCORES')
	local turn = tonumber(newest[2] or '0')
	for j = 1, #ids do
		local may = ids[j] == '0' or tonumber(busy[j] or '0') < tonumber(caps[j] or default)
			and not shut(hosts[j] or host)
		if may and not redis.call('ZSCORE', KEYS[4], ids[j]) then
			stranded = stranded + 1
			turn = turn + 1
			if ARGV[3] == '1' then redis.call('ZADD', KEYS[4], 'NX', turn, ids[j]) end
		end
	end
end
return {stranded, done and '' or after}
