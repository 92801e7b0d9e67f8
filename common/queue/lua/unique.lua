-- unique: may this job run?  Takes its unique and idempotency keys, all of them or none.
-- KEYS 1… unique:{p}:HASH or idem:{p}:HASH
-- ARGV 1 life ms  2 id  3 born ms  4 label, for people  5 parent's label or ""
--      then for each key its mode: reject, replace or idem
-- -> {verdict, id and label of the owner that stood in the way}
--    verdict: taken, duplicate, replaced (by a newer one), wait, wait_long
-- A key's value is STATE BORN ID MORE LABEL of its owner:
--   R runs, MORE = BORN,ID of the one that is to follow it, or -
--   W waits: is delayed, or follows one that ended
--   D succeeded, MORE = when
local match = string.match
local life, id, born, label, parent = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

-- Of two born in one millisecond the greater id is newer: admit's and our own grow.
local function older(born1, id1, born2, id2)
	if tonumber(born1) ~= tonumber(born2) then return tonumber(born1) < tonumber(born2) end
	if #id1 ~= #id2 then return #id1 < #id2 end
	return id1 < id2
end

-- reject: the first one wins until it has ended.  What came while the other was queued, and
-- was not looked at before that one had succeeded, came too early too; but not its own child.
local function reject(owner)
	if owner.state ~= 'D' then return 'duplicate' end
	if tonumber(born) < tonumber(owner.more) and (parent == '' or parent ~= owner.label) then
		return 'duplicate'
	end
	return 'taken'
end

-- replace: the newest wins; one that runs is not disturbed, but followed by the newest.
local function replace(owner)
	if older(born, id, owner.born, owner.id) then return 'replaced' end
	if owner.state ~= 'R' then return 'taken' end
	local next_born, next_id = match(owner.more, '^(%d+),(.+)$')
	if next_id and next_id ~= id and older(born, id, next_born, next_id) then return 'replaced' end
	owner.follow = owner.more ~= born .. ',' .. id
	return 'wait'
end

-- idem: one at a time, until one has succeeded.
local function idem(owner)
	if owner.state == 'D' then return 'duplicate' end
	return owner.state == 'R' and 'wait' or 'wait_long'
end

local judges = {reject = reject, replace = replace, idem = idem}
local more, follow, waits = {}, {}, nil
for k = 1, #KEYS do
	-- A key of another type is none of ours: taking the key replaces it.
	local value = redis.pcall('GET', KEYS[k])
	local owner = {}
	if type(value) == 'string' then
		owner.state, owner.born, owner.id, owner.more, owner.label =
			match(value, '^([RWD]) (%d+) (%S+) (%S+) (.*)$')
	end
	more[k] = '-'
	if owner.state and owner.id == id and owner.state ~= 'D' then
		if owner.state == 'R' then more[k] = owner.more end
	elseif owner.state then
		local verdict = judges[ARGV[5 + k]](owner)
		if verdict == 'duplicate' or verdict == 'replaced' then
			return {verdict, owner.id, owner.label}
		elseif verdict ~= 'taken' then
			waits = waits or {verdict, owner.id, owner.label}
			if owner.follow then follow[k] = owner end
		end
	end
end
for k, o in pairs(follow) do
	redis.call('SET', KEYS[k],
		'R ' .. o.born .. ' ' .. o.id .. ' ' .. born .. ',' .. id .. ' ' .. o.label, 'KEEPTTL')
end
if waits then return waits end
for k = 1, #KEYS do
	redis.call('SET', KEYS[k], 'R ' .. born .. ' ' .. id .. ' ' .. more[k] .. ' ' .. label, 'PX', life)
end
return {'taken', '', ''}
