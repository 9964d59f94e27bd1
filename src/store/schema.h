/* schema - the tables of state.db, and how an older file gets them.
 *
 * For database.c. The migrations in schema.c are the list of all there is in the file. */
#pragma once

#include "base/cleanup.h"

struct sqlite3;

#define SCHEMA_VERSION 10 /* PRAGMA user_version: the number of migrations */

/* Brings the file to SCHEMA_VERSION, each step in a transaction, and reads the first page of every
 * table. -ENOTSUP: it is newer; -EUCLEAN: damaged or not ours; other negative errno. */
MUST_CHECK int schema_upgrade(struct sqlite3 *sqlite);
