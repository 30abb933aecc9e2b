-- Removes calls whose record has expired from one stretch of the index, or, as
-- the last step, from the set of open calls. ARGV: first rank, how many; without
-- any, the open calls. Returns how many went, and how many were looked at.
local ids
if #ARGV > 0 then
  ids = redis.call('ZRANGE', 'calls:index', ARGV[1], ARGV[1] + ARGV[2] - 1)
else
  ids = redis.call('SMEMBERS', 'calls:open')
end
local gone = 0
for _, id in ipairs(ids) do
  if redis.call('EXISTS', 'call:' .. id) == 0 then
    gone = gone + redis.call('ZREM', 'calls:index', id)
    redis.call('ZREM', 'calls:counted', id)
    if redis.call('SREM', 'calls:open', id) == 1 then
      redis.call('INCR', 'total_calls_processed')
    end
  end
end
redis.call('SET', 'active_calls_count', redis.call('SCARD', 'calls:open'))
return { gone, #ids }
