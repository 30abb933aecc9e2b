-- Lines from a seq on, without sending those before it. ARGV: id, seq.
-- Where the list has holes, element i has a seq of i to i + holes, so a few
-- lines too many may come back; never one too few.
local list, from = 'call:' .. ARGV[1] .. ':transcript', tonumber(ARGV[2])
local length = redis.call('LLEN', list)
if length == 0 then return {} end
local holes = cjson.decode(redis.call('LINDEX', list, -1)).seq + 1 - length
return redis.call('LRANGE', list, math.max(0, from - holes), -1)
