/* The scripts of lua/, embedded at build time; ../README.md documents their keys and arguments. */
#ifndef COMMON_QUEUE_SCRIPTS_H
#define COMMON_QUEUE_SCRIPTS_H

#include "common/io/redis.h"

extern struct redis_script lua_acquire, lua_admit, lua_amend, lua_beat, lua_bury, lua_claim,
	lua_control, lua_count, lua_depth, lua_enqueue, lua_finish, lua_hold, lua_open, lua_promote,
	lua_reap, lua_recount, lua_replay, lua_role, lua_settle, lua_stranded, lua_unique,
	lua_usage;

#endif
