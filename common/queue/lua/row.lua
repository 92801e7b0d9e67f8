-- row: how many jobs of its integration and lane stand before a ready one.  Reads only.
-- KEYS 1 ready
-- ARGV 1 the member, or the pack it stands in  2 integration
-- -> jobs in members before it, or -1: it is not there any more
-- Up to 100 members are opened for their count; of more the rest is estimated from these.
local rank = redis.call('ZRANK', KEYS[1], ARGV[1])
if not rank then return -1 end
local before = rank - redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. ARGV[2])
if before <= 0 then return 0 end
local members = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[2], ARGV[2], 'LIMIT', 0, math.min(before, 100))
local jobs = 0
for j = 1, #members do
	jobs = jobs + tonumber(string.match(members[j], '^%S+ %S+ x(%d+) ') or 1)
end
return math.floor(jobs * before / #members)
