-- fire: starts by the clock -> ready, each slot of an integration at most once and none after a later one.
-- KEYS 1 ready (normal)  2 ring (normal)  3 seq  4 beat
-- ARGV 1 token of the leader, then for each start: integration slot bytes
--      bytes = " I HEADER\nPAYLOAD"; starts of one slot stand together
-- -> for each 1: queued, 0: it had been; or -1: a newer leader has been here, nothing was done
local format = string.format
redis.call('ZCARD', KEYS[1])
redis.call('ZCARD', KEYS[2])
local token = redis.call('HGET', KEYS[4], 'token')
if token and tonumber(ARGV[1]) < tonumber(token) then return -1 end
if token ~= ARGV[1] then redis.call('HSET', KEYS[4], 'token', ARGV[1]) end

local count = (#ARGV - 1) / 3
if count == 0 then return {} end
local ids = {}
for j = 1, count do ids[j] = ARGV[3 * j - 1] end
local last, slots = redis.call('HMGET', KEYS[4], unpack(ids)), {}
local seq = redis.call('INCRBY', KEYS[3], count) - count
local ready, ring, marks, new = {}, {}, {}, {}
for j = 1, count do
	local integration, slot, bytes = unpack(ARGV, 3 * j - 1, 3 * j + 1)
	local before = slots[integration] or tonumber(last[j] or '-1') or -1
	-- A slot may start several tasks; a mark made by this very call turns none of them away.
	local mine = marks[integration] and tonumber(slot) == before
	if mine or tonumber(slot) > before then
		ready[#ready + 1] = integration
		ready[#ready + 1] = format('1%014.0f', seq + j) .. bytes
		ring[integration] = true
		slots[integration] = tonumber(slot)
		marks[integration] = slot
		new[j] = 1
	else
		new[j] = 0
	end
end
if #ready > 0 then
	redis.call('ZADD', KEYS[1], unpack(ready))
	local newest = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
	local turn = tonumber(newest[2] or '0')
	for integration in pairs(ring) do
		turn = turn + 1
		redis.call('ZADD', KEYS[2], 'NX', turn, integration)
	end
	local set = {}
	for integration, slot in pairs(marks) do
		set[#set + 1] = integration
		set[#set + 1] = slot
	end
	redis.call('HSET', KEYS[4], unpack(set))
end
return new
