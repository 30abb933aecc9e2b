-- How many lines a call has whose number is below one. ARGV: id, that number.
local list, below = 'call:' .. ARGV[1] .. ':transcript', tonumber(ARGV[2])
local length = redis.call('LLEN', list)
if length == 0 then return 0 end
local function seq_of(json)
  local is_read, line = pcall(cjson.decode, json)
  return is_read and type(line) == 'table' and tonumber(line.seq) or nil
end
local last = seq_of(redis.call('LINDEX', list, -1))
-- Without a hole, the numbers are the places.
if last and last + 1 == length then return math.min(below, length) end
local count = 0
for _, json in ipairs(redis.call('LRANGE', list, 0, -1)) do
  local seq = seq_of(json)
  if seq and seq < below then count = count + 1 end
end
return count
