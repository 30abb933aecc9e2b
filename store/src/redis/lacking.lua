-- Which calls lack something that was stored. ARGV, four per call: id, number of the first
-- line that is looked for, number behind the last, how many digits. Returns the ids' places.
-- Lines have their numbers and are in order, so where the first and the last stand as far
-- apart as they should, those between are there.
local function seq_of(json)
  local is_read, line = pcall(cjson.decode, json)
  return is_read and type(line) == 'table' and tonumber(line.seq) or nil
end

-- Whether a key is a list, or free for one: what somebody has put there instead stays lost.
local function is_listlike(key)
  local kind = redis.call('TYPE', key)['ok']
  return kind == 'list' or kind == 'none'
end

local function lines_are_there(list, first, behind)
  if behind <= first or not is_listlike(list) then return true end
  local json = redis.call('LINDEX', list, -1)
  if not json then return false end
  -- Later ones may have come meanwhile. What cannot be read cannot be mended either.
  local last = seq_of(json)
  if not last then return true end
  if last < behind - 1 then return false end
  json = redis.call('LINDEX', list, first - last - 1)
  if not json then return false end
  return (seq_of(json) or first) == first
end

local lacking = {}
for i = 1, #ARGV, 4 do
  local call = 'call:' .. ARGV[i]
  local digits = call .. ':dtmf'
  local is_there = redis.call('EXISTS', call) == 1
    and (not is_listlike(digits) or redis.call('LLEN', digits) >= tonumber(ARGV[i + 3]))
    and lines_are_there(call .. ':transcript', tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]))
  if not is_there then table.insert(lacking, (i - 1) / 4) end
end
return lacking
