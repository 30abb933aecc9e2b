-- Proves that every command and key that writes need may be used, and leaves nothing behind.
-- The id is one that no call can have.
local call, soon = 'call:-', 1
redis.call('DEL', call, call .. ':transcript', call .. ':dtmf')
redis.call('SET', call, '', 'PX', soon)
for _, kind in ipairs({ 'transcript', 'dtmf' }) do
  local list = call .. ':' .. kind
  redis.call('RPUSH', list, '')
  redis.call('LLEN', list)
  redis.call('LINDEX', list, -1)
  redis.call('LRANGE', list, 0, 0)
  redis.call('LSET', list, 0, '')
  redis.call('LINSERT', list, 'BEFORE', '', '')
  redis.call('PEXPIRE', list, soon)
end
for _, set in ipairs({ 'calls:index', 'calls:counted' }) do
  redis.call('ZSCORE', set, '-')
  redis.call('ZADD', set, 0, '-')
  redis.call('ZREM', set, '-')
end
redis.call('SADD', 'calls:open', '-')
redis.call('SREM', 'calls:open', '-')
redis.call('SET', 'active_calls_count', redis.call('SCARD', 'calls:open'))
if redis.call('EXISTS', 'total_calls_processed') == 1 then
  redis.call('INCRBY', 'total_calls_processed', 0)
end
return 1
