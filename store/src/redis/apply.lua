-- Applies writes in order, all in one round trip. Stops at the first that fails;
-- the caller repeats them all, which is safe: each knows what is already there.
--
-- ARGV: ms to keep a record, ms to keep a transcript, then five per write:
--   'call', id, '1' if open, started (ms since 1970), JSON
--   'given_up' likewise: an open record of another node stands before it
--   'transcript' | 'dtmf', id, position, '1' if it takes the place of what is there, JSON
--   'digits', id, '', '', all of them as a JSON list of strings
--   'erase', id, '', '', ''
-- Returns how many elements were appended beyond the next position, which shows
-- that this Redis has lost some; and the calls of lines that got another number.
local call_ms, transcript_ms = ARGV[1], ARGV[2]
local beyond, displaced = 0, {}

-- A call counts as processed once, however often it is put as over, and also if
-- it was put as open in between: a repeated batch does both.
local function count_once(id, started)
  if tonumber(redis.call('ZSCORE', 'calls:counted', id) or -1) ~= tonumber(started) then
    redis.call('ZADD', 'calls:counted', started, id)
    redis.call('INCR', 'total_calls_processed')
  end
end

local function put_call(id, open, started, json)
  redis.call('SET', 'call:' .. id, json, 'PX', call_ms)
  redis.call('ZADD', 'calls:index', started, id)
  if open == '1' then
    redis.call('SADD', 'calls:open', id)
  else
    redis.call('SREM', 'calls:open', id)
    count_once(id, started)
  end
  -- Set, not counted up and down: it cannot drift, nor go below zero.
  redis.call('SET', 'active_calls_count', redis.call('SCARD', 'calls:open'))
end

-- What is stored as JSON; nil if it cannot be read, which must not stop the call.
local function read(json)
  local is_read, value = pcall(cjson.decode, json or '')
  return is_read and type(value) == 'table' and value or nil
end

-- Whether the call has an open record of another node than that of this one.
local function is_of_another(id, json)
  if redis.call('SISMEMBER', 'calls:open', id) == 0 then return false end
  local stored, own = read(redis.call('GET', 'call:' .. id)), read(json)
  return stored and own and stored.node ~= nil and stored.node ~= own.node
end

-- The number of a stored line; nil if it cannot be read, which must not stop the call.
local function seq_of(json)
  local line = read(json)
  return line and tonumber(line.seq) or nil
end

-- The number of the last line that can be read, as if those behind it followed it.
local function last_seq(list, length)
  for at = length - 1, 0, -1 do
    local seq = seq_of(redis.call('LINDEX', list, at))
    if seq then return seq + length - 1 - at end
  end
  return length - 1
end

-- Where this line lies in a list that has holes; or else the first one that comes after it.
-- Element i has a seq of i to i + holes.
local function place(list, seq, holes)
  local from = math.max(0, seq - holes)
  for n, json in ipairs(redis.call('LRANGE', list, from, seq)) do
    local found = seq_of(json)
    if found == seq then return from + n - 1, nil end
    if found and found > seq then return nil, json end
  end
  return nil, nil
end

-- Whether two lines are of the same utterance, whatever they say by now. One that cannot be read
-- is taken for it.
local function is_same(json, line)
  local stored = read(json)
  if not stored or not line then return true end
  return stored.leg == line.leg and stored.start_ms == line.start_ms and stored.end_ms == line.end_ms
end

local function renumbered(json, seq)
  return (json:gsub('"seq":%d+', '"seq":' .. string.format('%.0f', seq), 1))
end

-- A line whose place another server's line has: it lies behind that one, or is put behind all.
local function displace(id, list, at, last, json, revises)
  local line = read(json)
  for n, other in ipairs(redis.call('LRANGE', list, at + 1, -1)) do
    if read(other) and is_same(other, line) then
      if revises then redis.call('LSET', list, at + n, renumbered(json, seq_of(other))) end
      return
    end
  end
  redis.call('RPUSH', list, renumbered(json, last + 1))
  table.insert(displaced, id)
end

local function append_line(id, list, seq, json, revises)
  local length = redis.call('LLEN', list)
  local last = last_seq(list, length)
  if seq > last then
    if seq > last + 1 then beyond = beyond + 1 end
    redis.call('RPUSH', list, json)
    return
  end
  local at, behind = place(list, seq, math.max(0, last + 1 - length))
  if at then
    if not is_same(redis.call('LINDEX', list, at), read(json)) then
      displace(id, list, at, last, json, revises)
    elseif revises then
      redis.call('LSET', list, at, json)
    end
  elseif behind then
    -- It had been lost, and is given again.
    redis.call('LINSERT', list, 'BEFORE', behind, json)
  elseif last >= length or revises then
    return redis.error_reply('LATE line ' .. seq .. ' comes after line ' .. last .. ' of ' .. list)
  end
end

-- A digit does not bear its index, so after a loss it is known by its content,
-- which holds its time. A repeated batch is shorter than what is searched.
local function append_digit(list, index, json)
  local length = redis.call('LLEN', list)
  if index < length then return end
  for _, stored in ipairs(redis.call('LRANGE', list, -256, -1)) do
    if stored == json then return end
  end
  if index > length then beyond = beyond + 1 end
  redis.call('RPUSH', list, json)
end

-- All of them, of which some had been lost.
local function put_digits(list, all)
  local digits = cjson.decode(all)
  if redis.call('LLEN', list) >= #digits then return end
  redis.call('DEL', list)
  for _, digit in ipairs(digits) do redis.call('RPUSH', list, digit) end
end

local function erase(id)
  local call = 'call:' .. id
  redis.call('DEL', call, call .. ':transcript', call .. ':dtmf')
  redis.call('ZREM', 'calls:index', id)
  redis.call('ZREM', 'calls:counted', id)
  redis.call('SREM', 'calls:open', id)
  redis.call('SET', 'active_calls_count', redis.call('SCARD', 'calls:open'))
end

for i = 3, #ARGV, 5 do
  local kind, id = ARGV[i], ARGV[i + 1]
  if kind == 'call' or kind == 'given_up' then
    if kind == 'call' or not is_of_another(id, ARGV[i + 4]) then
      put_call(id, ARGV[i + 2], ARGV[i + 3], ARGV[i + 4])
    end
  elseif kind == 'erase' then
    erase(id)
  elseif kind == 'digits' then
    local list = 'call:' .. id .. ':dtmf'
    put_digits(list, ARGV[i + 4])
    redis.call('PEXPIRE', list, call_ms)
  else
    local list, position, failed = 'call:' .. id .. ':' .. kind, tonumber(ARGV[i + 2]), nil
    if kind == 'transcript' then
      failed = append_line(id, list, position, ARGV[i + 4], ARGV[i + 3] == '1')
      redis.call('PEXPIRE', list, transcript_ms)
    else
      append_digit(list, position, ARGV[i + 4])
      redis.call('PEXPIRE', list, call_ms)
    end
    if failed then return failed end
  end
end
return {beyond, displaced}
