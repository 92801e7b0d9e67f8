-- control: replaces caps and pauses.
-- KEYS 1 control
-- ARGV 1 token  2 generation  3 partner cap  4 default cap, then (integration cap)*
-- -> 1: something changed, or an earlier change was not carried through: run open over all lanes, and
--    end it with this token.  0: nothing to do
-- The generation is written only where none is: it belongs to this Redis' data.
local old = redis.call('HGETALL', KEYS[1])
local was, count = {}, 0
for j = 1, #old, 2 do was[old[j]] = old[j + 1] end
for _ in pairs(was) do count = count + 1 end

local new = {'gen', was.gen or ARGV[2], 'partner', ARGV[3], 'default', ARGV[4]}
for j = 5, #ARGV do new[#new + 1] = ARGV[j] end
local same = count == #new / 2
for j = 1, #new, 2 do same = same and was[new[j]] == new[j + 1] end
if same then return 0 end

redis.call('DEL', KEYS[1])
for from = 1, #new, 1000 do
	redis.call('HSET', KEYS[1], unpack(new, from, math.min(from + 999, #new)))
end
redis.call('HSET', KEYS[1], 'open', ARGV[1])
return 1
