-- reseal: puts a value sealed with another key in the place of the one that was read; the key's time to live stays.
-- KEYS 1 key
-- ARGV 1 value as it was read, 2 the same under the new key
-- -> 1 replaced | 0 gone, or newer by now
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1
