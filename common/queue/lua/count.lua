-- count: ready jobs of some integrations, over all lanes.  Reads only.
-- KEYS 1-3 ready
-- ARGV integrations (<= 400)
-- -> their sum
local sum = 0
for j = 1, #ARGV do
	for lane = 1, 3 do sum = sum + redis.call('ZCOUNT', KEYS[lane], ARGV[j], ARGV[j]) end
end
return sum
