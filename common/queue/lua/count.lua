-- count: ready jobs of some integrations, by lane.  Reads only.
-- KEYS 1-3 ready
-- ARGV integrations (<= 400)
-- -> {high, normal, low}
local sums = {0, 0, 0}
for j = 1, #ARGV do
	for lane = 1, 3 do
		sums[lane] = sums[lane] + redis.call('ZCOUNT', KEYS[lane], ARGV[j], ARGV[j])
	end
end
return sums
