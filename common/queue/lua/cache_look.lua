-- cache_look: an answer that is kept, and who is to fetch it where it is not fresh.
-- KEYS 1 entry  2 lease
-- ARGV 1 who asks  2 life of a lease ms  3 "ask" or "refresh"  4 life of the mark of a refresh ms
-- -> {how, entry or "", now ms, lease or ""}
--    fresh: as it is   stale: it is being fetched, or soon will be   refresh: the same, and the caller is to see to it
--    mine: the caller fetches it   wait: another one does   failed: another one did, a moment ago, in vain
-- An entry begins with "KIND SENT FRESH SOFT SIZE"; until SOFT it may be answered while somebody fetches it anew.
-- The lease is whose turn it is: a name, "~" while a refresh is queued, "!…" what a fetch failed of.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local entry = redis.call('GET', KEYS[1]) or ''
local fresh, soft = string.match(entry, '^%l %d+ (%d+) (%d+) ')
if fresh and now < tonumber(fresh) then return {'fresh', entry, now, ''} end
local lease = redis.call('GET', KEYS[2])
if ARGV[3] == 'ask' and soft and now < tonumber(soft) then
	if lease then return {'stale', entry, now, ''} end
	redis.call('SET', KEYS[2], '~', 'PX', ARGV[4])
	return {'refresh', entry, now, ''}
end
if lease and lease ~= ARGV[1] and lease ~= '~' then
	return {string.sub(lease, 1, 1) == '!' and 'failed' or 'wait', entry, now, lease}
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return {'mine', entry, now, ''}
