-- count: ready jobs of some integrations, by lane.  Reads only.
-- KEYS 1-3 ready  4 packed
-- ARGV integrations (<= 400)
-- -> {high, normal, low}
local sums = {0, 0, 0}
for j = 1, #ARGV do
	for lane = 1, 3 do
		local members = redis.call('ZCOUNT', KEYS[lane], ARGV[j], ARGV[j])
		if members > 0 then
			members = members + tonumber(redis.call('HGET', KEYS[4], lane .. ':' .. ARGV[j]) or '0')
		end
		sums[lane] = sums[lane] + members
	end
end
return sums
