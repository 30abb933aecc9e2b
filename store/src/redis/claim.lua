-- Claims a node's name for a running server: ARGV node, mark, milliseconds, mark that may be replaced.
-- Answers with the mark of another server that has it, or nil.
local key = 'node:' .. ARGV[1]
local held = redis.call('GET', key)
if held and held ~= ARGV[2] and held ~= ARGV[4] then
  return held
end
redis.call('SET', key, ARGV[2], 'PX', ARGV[3])
return false
