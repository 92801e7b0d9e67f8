-- open: puts into one lane's ring whoever has ready jobs and is below its cap.
-- KEYS 1 control  2 busy  3 ready  4 ring
-- ARGV 1 integration to begin after (-1 = from the start)  2 most integrations  3 token or ""
-- -> {put in, last integration looked at, or "" at the end}
-- With a token, the end of the walk also ends the change that control.lua began.
local format = string.format
local after, ids = ARGV[1], {}
local header = redis.call('ZRANGE', KEYS[4], -1, -1, 'WITHSCORES')
local turn = tonumber(header[2] or '0')
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
local entered = 0
if #ids > 0 then
	local default = tonumber(redis.call('HGET', KEYS[1], 'default') or '0')
	local caps = redis.call('HMGET', KEYS[1], unpack(ids))
	local busy = redis.call('HMGET', KEYS[2], unpack(ids))
	for j = 1, #ids do
		if ids[j] == '0' or tonumber(busy[j] or '0') < tonumber(caps[j] or default) then
			turn = turn + 1
			entered = entered + redis.call('ZADD', KEYS[4], 'NX', turn, ids[j])
		end
	end
end
if done and ARGV[3] ~= '' and redis.call('HGET', KEYS[1], 'open') == ARGV[3] then
	redis.call('HDEL', KEYS[1], 'open')
end
return {entered, done and '' or after}
