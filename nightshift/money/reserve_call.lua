#!lua
-- Keep money for one call, at every level it counts on or at none.
--
-- q.id, q.ceiling   names the reservation; the most that the call can cost, in micro-USD
-- q.share           percent of a cap that this kind of work may fill where it meets others
-- q.shared          {level: true}: the levels where it does
-- q.lease_ms        after this it lapses, unless it is settled
-- Returns {'held'} | {'frozen', who and why} |
--         {'blocked', level, name, cap, limit, spent, reserved, ms until midnight}
--
-- Safe to repeat: a reservation is made once under its id.

local frozen = redis.call('HGET', root .. 'switches', 'frozen')
if frozen then return {'frozen', frozen} end
if redis.call('EXISTS', hold_key(q.id)) == 1 then return {'held'} end
free_lapsed()

local fields = {}
for i, at in ipairs(q.levels) do
  local cap = cap_of(at)
  if cap then
    local limit = q.shared[at.level] and math.floor(cap * q.share / 100) or cap
    local gone, kept = spent(at), reserved(at)
    if cap == 0 or gone + kept + q.ceiling > limit then
      tell_once('blocked', at, cap)
      return {'blocked', at.level, at.name, int(cap), int(limit), int(gone), int(kept), int(DAY_MS - now % DAY_MS)}
    end
  end
  fields[i] = reserved_field(at)
end

for _, field in ipairs(fields) do redis.call('HINCRBY', RESERVED, field, int(q.ceiling)) end
redis.call('HSET', hold_key(q.id), 'state', 'held', 'amount', int(q.ceiling), 'day', today,
  'fields', cjson.encode(fields))
redis.call('ZADD', HOLDS, now + q.lease_ms, q.id)
return {'held'}
