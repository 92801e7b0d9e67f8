-- cache_put: what a fetch brought, or why it failed; ends its lease.
-- KEYS 1 entry  2 lease
-- ARGV 1 who fetched  2 entry or ""  3 its life ms  4 "!…" why it failed, or ""  5 how long that holds ms
-- -> 1 kept | 0 a newer one is there
-- Whoever was too slow has no lease any more, and what he brings is kept if it is newer all the same.
local kept = 0
if ARGV[2] ~= '' then
	local sent = string.match(ARGV[2], '^%l (%d+) ')
	local there = string.match(redis.call('GET', KEYS[1]) or '', '^%l (%d+) ')
	if not there or tonumber(there) <= tonumber(sent) then
		redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
		kept = 1
	end
end
if redis.call('GET', KEYS[2]) == ARGV[1] then
	if ARGV[4] ~= '' then
		redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[5])
	else
		redis.call('DEL', KEYS[2])
	end
end
return kept
