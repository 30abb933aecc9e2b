-- Lines from a seq on, without sending those before it. ARGV: id, seq.
-- Where the list has holes, element i has a seq of i to i + holes, so a few
-- lines too many may come back; never one too few.
local list, from = 'call:' .. ARGV[1] .. ':transcript', tonumber(ARGV[2])
local length = redis.call('LLEN', list)
if length == 0 then return {} end
local is_read, last = pcall(cjson.decode, redis.call('LINDEX', list, -1))
-- With a last one that cannot be read, it is not known how many are missing.
if not (is_read and type(last) == 'table' and tonumber(last.seq)) then return redis.call('LRANGE', list, 0, -1) end
local holes = last.seq + 1 - length
return redis.call('LRANGE', list, math.max(0, from - holes), -1)
