-- Shared by the purse's scripts: what is spent and reserved, where it counts, and what caps it.
--
-- q.levels   {{level, name, own, each}, ...}: where a call counts, and the caps that the settings give, if any

local HOLDS, RESERVED, CAPS = root .. 'money:holds', root .. 'money:reserved', root .. 'money:caps'
local DAY_MS, KEEP_BOOKS, KEEP_RUNS = 86400000, 400 * 86400, 3 * 86400
local today = int(math.floor(now / DAY_MS))

local function hold_key(id) return root .. 'money:hold:' .. id end
local function book_key(day) return root .. 'money:day:' .. day end
local function spent_by(run) return root .. 'money:run:' .. run end
-- No level's name holds a space, so whatever the name after it holds, the two stay apart.
local function label(at) return at.level .. ' ' .. at.name end
-- A run's sums have no day: it counts in all.
local function reserved_field(at) return (at.level == 'run' and '' or today .. ' ') .. label(at) end

local function spent(at)
  if at.level == 'run' then return number(redis.call('GET', spent_by(at.name))) end
  return number((redis.call('HGET', book_key(today), label(at)) or ''):match('^%d+'))
end

local function reserved(at) return number(redis.call('HGET', RESERVED, reserved_field(at))) end

-- A name's own cap before that of each, and what was changed live before what the settings say.
local function cap_of(at)
  local live = redis.call('HMGET', CAPS, label(at), at.level .. ' ')
  return tonumber(at.name ~= '' and live[1] or at.own or live[2] or at.each)
end

-- Say this once a day of each name.
local function tell_once(what, at, cap)
  local key = root .. 'money:warned:' .. today
  if redis.call('SADD', key, what .. ' ' .. label(at)) == 0 then return end
  redis.call('EXPIRE', key, 2 * 86400)
  redis.call('HINCRBY', root .. 'tally:total', 'budget_' .. what, 1)
  emit('budget_' .. what, {'source', 'budget:' .. at.level, 'status', what, 'level', at.level, 'name', at.name,
    'spent', int(spent(at)), 'cap', int(cap)})
end

-- Give back what a hold keeps from others.
local function free(id, becomes, keep)
  local row = redis.call('HMGET', hold_key(id), 'amount', 'fields')
  if row[2] then
    local change = int(0 - row[1])  -- not a minus before it: of what is free there is no -0
    for _, field in ipairs(cjson.decode(row[2])) do
      if redis.call('HINCRBY', RESERVED, field, change) <= 0 then redis.call('HDEL', RESERVED, field) end
    end
    redis.call('HSET', hold_key(id), 'state', becomes)
    redis.call('EXPIRE', hold_key(id), keep)
  end
  redis.call('ZREM', HOLDS, id)
end

-- Who reserved and fell silent has its money given back; a settle that comes after all still counts.
local function free_lapsed()
  repeat
    local lapsed = redis.call('ZRANGEBYSCORE', HOLDS, '-inf', now, 'LIMIT', 0, 500)
    for _, id in ipairs(lapsed) do free(id, 'lapsed', 86400) end
  until #lapsed == 0
end
