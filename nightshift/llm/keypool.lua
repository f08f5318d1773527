#!lua flags=allow-oom
-- Choose a key that may be used, or remember how one did.
--
-- q.pool
-- q.model      whose call it is for, or about: a key that rests does so for one model, any other may be asked with it
-- q.ids        the keys there are now: any other is forgotten and the least recently used of them is chosen
-- q.id         absent when choosing: the key that `q.event` is about
-- q.event      ok | well (a probe says so) | resting | refused
-- q.state, q.till_ms, q.why   of a key that rests: what it is called, how long and why; of one refused: why
-- q.strikes    refusals in a row after which a key is invalid
-- Returns {'key', id} | {'none', ms until the first that rests may be used, or -1} | {'told', state}
--
-- A key's row is {used, strikes, invalid, rests}: why it is invalid, if it is, and {state, till} for each
-- model that it rests for. Safe to repeat, but for a refusal, which may count twice.

local key = root .. 'keypool:' .. q.pool

local function row_of(id)
  local row = cjson.decode(redis.call('HGET', key, id) or '{"used": 0, "strikes": 0}')
  row.invalid, row.rests = row.invalid or '', row.rests or {}
  for model, rest in pairs(row.rests) do
    if rest.till <= now then row.rests[model] = nil end
  end
  return row
end

local function state_of(row)
  -- No limit says that a key is accepted again.
  if row.invalid ~= '' then return 'invalid' end
  local rest = row.rests[q.model]
  return rest and rest.state or 'ok'
end

local function store(id, row) redis.call('HSET', key, id, cjson.encode(row)) end

if q.id then
  local row = row_of(q.id)
  local before, why = state_of(row), ''
  if q.event == 'ok' then
    -- What answers late says nothing of a key that has come to rest since; and mostly there is nothing to write.
    if before ~= 'ok' or row.strikes == 0 then return {'told', before} end
    row.strikes = 0
  elseif q.event == 'well' then
    row.strikes, row.invalid, row.rests[q.model] = 0, '', nil
  elseif q.event == 'resting' then
    local rest = row.rests[q.model]
    if rest and rest.till > now + q.till_ms then return {'told', before} end
    why, row.strikes = q.why, 0
    row.rests[q.model] = {state = q.state, till = now + q.till_ms}
  else
    row.strikes = row.strikes + 1
    if row.strikes >= q.strikes then why, row.invalid = q.why, q.why end
  end
  store(q.id, row)
  local after = state_of(row)
  if after ~= before then
    emit('key_changed', {'source', 'keypool:' .. q.pool, 'status', after, 'key', q.id, 'model', q.model, 'reason', why})
  end
  return {'told', after}
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
  local state = state_of(row)
  if state == 'ok' then
    if not chosen or row.used < chosen.used then chosen, chosen_id = row, id end
  elseif state ~= 'invalid' then
    local till = row.rests[q.model].till
    first = math.min(first or till, till)
  end
end
if not chosen then return {'none', first and int(first - now) or '-1'} end
chosen.used = last + 1
store(chosen_id, chosen)
return {'key', chosen_id}
