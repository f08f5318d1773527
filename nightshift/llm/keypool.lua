#!lua flags=allow-oom
-- Choose a key that may be used, or remember how one did.
--
-- q.pool
-- q.ids        the keys there are now: any other is forgotten and the least recently used of them is chosen
-- q.id         absent when choosing: the key that `q.event` is about
-- q.event      ok | well (a probe says so) | resting | refused
-- q.state, q.till_ms, q.why   of a key that rests: what it is called, how long and why; of one refused: why
-- q.strikes    refusals in a row after which a key is invalid
-- Returns {'key', id} | {'none', ms until the first that rests may be used, or -1} | {'told', state}
--
-- A key's row is {state, till, used, strikes, why}. Safe to repeat, but for a refusal, which may count twice.

local key = root .. 'keypool:' .. q.pool

local function row_of(id)
  local stored = redis.call('HGET', key, id)
  local row = stored and cjson.decode(stored) or {state = 'ok', till = 0, used = 0, strikes = 0, why = ''}
  if row.till > 0 and row.till <= now then row.state, row.till, row.why = 'ok', 0, '' end
  return row
end

local function store(id, row) redis.call('HSET', key, id, cjson.encode(row)) end

if q.id then
  local row = row_of(q.id)
  local before = row.state
  if q.event == 'ok' then
    -- What answers late says nothing of a key that has come to rest since; and mostly there is nothing to write.
    if row.state ~= 'ok' or row.strikes == 0 then return {'told', row.state} end
    row.strikes = 0
  elseif q.event == 'well' then
    row.state, row.till, row.strikes, row.why = 'ok', 0, 0, ''
  elseif q.event == 'resting' then
    if row.till > now + q.till_ms then return {'told', row.state} end
    row.state, row.till, row.strikes, row.why = q.state, now + q.till_ms, 0, q.why
  else
    row.strikes = row.strikes + 1
    if row.strikes >= q.strikes then row.state, row.till, row.why = 'invalid', 0, q.why end
  end
  store(q.id, row)
  if row.state ~= before then
    emit('key_changed', {'source', 'keypool:' .. q.pool, 'status', row.state, 'key', q.id, 'reason', row.why})
  end
  return {'told', row.state}
end

local there = {}
for _, id in ipairs(q.ids) do there[id] = true end
local last = 0
for _, id in ipairs(redis.call('HKEYS', key)) do
  if there[id] then last = math.max(last, row_of(id).used) else redis.call('HDEL', key, id) end
end

local chosen, chosen_id, first
for _, id in ipairs(q.ids) do
  local row = row_of(id)
  if row.state == 'ok' then
    if not chosen or row.used < chosen.used then chosen, chosen_id = row, id end
  elseif row.till > 0 then
    first = math.min(first or row.till, row.till)
  end
end
if not chosen then return {'none', first and int(first - now) or '-1'} end
chosen.used = last + 1
store(chosen_id, chosen)
return {'key', chosen_id}
