/* The scripts of lua/, embedded at build time; ../README.md documents their keys and arguments. */
#ifndef COMMON_QUEUE_SCRIPTS_H
#define COMMON_QUEUE_SCRIPTS_H

#include "common/io/redis.h"

extern struct redis_script lua_acquire;
extern struct redis_script lua_admit;
extern struct redis_script lua_amend;
extern struct redis_script lua_breaker;
extern struct redis_script lua_breaker_probe;
extern struct redis_script lua_breaker_set;
extern struct redis_script lua_bury;
extern struct redis_script lua_cache_look;
extern struct redis_script lua_cache_put;
extern struct redis_script lua_claim;
extern struct redis_script lua_control;
extern struct redis_script lua_count;
extern struct redis_script lua_depth;
extern struct redis_script lua_enqueue;
extern struct redis_script lua_finish;
extern struct redis_script lua_fire;
extern struct redis_script lua_gone;
extern struct redis_script lua_hold;
extern struct redis_script lua_learn;
extern struct redis_script lua_mint;
extern struct redis_script lua_open;
extern struct redis_script lua_promote;
extern struct redis_script lua_reap;
extern struct redis_script lua_recount;
extern struct redis_script lua_replay;
extern struct redis_script lua_reseal;
extern struct redis_script lua_role;
extern struct redis_script lua_row;
extern struct redis_script lua_run;
extern struct redis_script lua_seed;
extern struct redis_script lua_settle;
extern struct redis_script lua_shelve;
extern struct redis_script lua_spawn;
extern struct redis_script lua_stranded;
extern struct redis_script lua_take_in;
extern struct redis_script lua_unique;
extern struct redis_script lua_unlock;
extern struct redis_script lua_usage;

#endif
