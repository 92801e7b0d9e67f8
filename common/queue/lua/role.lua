-- role: a lease on a role, with a fencing token.
-- KEYS 1 role  2 its last token
-- ARGV 1 owner  2 life ms, 0 = give it back
-- -> token as text, "" if someone else holds it (or, giving back, always "")
-- A token is never below the clock in ms, so that it grows even after Redis lost the last one.
local held = redis.call('GET', KEYS[1])
local token, owner
if held then token, owner = string.match(held, '^(%d+) (.*)$') end
if ARGV[2] == '0' then
	if owner == ARGV[1] then redis.call('DEL', KEYS[1]) end
	return ''
end
if held and owner ~= ARGV[1] then return '' end
if not held then
	local time = redis.call('TIME')
	local now = time[1] * 1000 + math.floor(time[2] / 1000)
	token = math.max(now, tonumber(redis.call('GET', KEYS[2]) or '0') + 1)
	token = string.format('%.0f', token)
	redis.call('SET', KEYS[2], token)
end
redis.call('SET', KEYS[1], token .. ' ' .. ARGV[1], 'PX', ARGV[2])
return token
