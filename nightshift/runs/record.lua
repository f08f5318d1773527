#!lua
-- Create a run unless it is there, and advance what it came from, together.
--
-- q.run      {id, source, nominal, task, queue, lane, overlap, ready, deadline_ms, payload, ...} or nil
-- q.advance  {index, member, expected, next, row, fields}: move `member` from `expected` to `next`
-- q.missed   {times, from, till, reason}: slots that passed and make no run
-- q.replay   open again a run that ended
-- q.visit     {channel, generation, next, fields, skip}: give the channel its next visit, or none; `skip` is
--            {reason, nominal, detail} if this one made no run
-- Returns    one of: recorded, exists, skipped, replayed, advanced, stale, missing
--
-- Safe to repeat: a run is created once under its id, and an index that moved on answers `stale`.

local move = q.advance
if move then
  local score = redis.call('ZSCORE', move.index, move.member)
  if not score or tonumber(score) ~= tonumber(move.expected) then return 'stale' end
end

local visit = q.visit
if visit and redis.call('HGET', visit_key(visit.channel), 'generation') ~= visit.generation then return 'stale' end

local answer = 'advanced'
local run = q.run
if run then
  local key = run_key(run.id)
  local lane = run.lane ~= '' and lane_key(run.lane) or nil
  local holder = lane and redis.call('HGET', lane, 'holder')
  if redis.call('EXISTS', key) == 1 then
    answer = 'exists'
    local state = redis.call('HGET', key, 'state')
    if q.replay and state ~= 'waiting' and state ~= 'running' then
      redis.call('ZREM', root .. 'ended:' .. state, run.id)
      redis.call('HSET', key, 'state', 'waiting', 'reason', '', 'ready', int(now), 'attempts', 0, 'retries', 0, 'hints', 0)
      redis.call('HDEL', key, 'ended', 'result')
      redis.call('ZADD', OPEN, now, run.id)
      local whose = redis.call('HMGET', key, 'queue', 'tenant', 'agent')
      offer(run.id, whose[1], whose[2], whose[3], now)
      take_lane(key, run.id)
      tell(key, 'replayed', q.by)
      emit_run('run_recorded', run.id, {'status', 'waiting', 'reason', 'replayed'})
      poke(now)
      answer = 'replayed'
    end
  elseif q.replay then
    answer = 'missing'
  elseif run.overlap == 'skip' and holder and is_open(holder) then
    skip(run.source, 'overlap', run.nominal, 1, holder .. ' is still open')
    answer = 'skipped'
  else
    create_run(run)
    answer = 'recorded'
  end
end

if q.missed then
  skip(q.missed.source, q.missed.reason, q.missed.from, tonumber(q.missed.times), 'until ' .. q.missed.till)
end

if move then
  if move.next then
    redis.call('ZADD', move.index, move.next, move.member)
    if move.index == DUE then poke(tonumber(move.next)) end
  else
    redis.call('ZREM', move.index, move.member)
  end
  for field, value in pairs(move.fields) do redis.call('HSET', move.row, field, value) end
end

if visit then
  local passed = visit.skip
  if passed and skip_visit(visit.channel, passed.reason, passed.nominal, 1, passed.detail) then
    emit('slot_skipped', {'source', 'heartbeat:' .. visit.channel, 'nominal', passed.nominal, 'reason', passed.reason, 'times', 1})
  end
  if visit.next then place_visit(visit.channel, tonumber(visit.next)) else stop_visits(visit.channel) end
  for field, value in pairs(visit.fields) do redis.call('HSET', visit_key(visit.channel), field, value) end
end
return answer
