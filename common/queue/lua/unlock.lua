-- unlock: deletes a key that still holds what the caller put there.
-- KEYS 1 key
-- ARGV 1 value
-- -> 1 deleted | 0 gone, or somebody else's by now
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
