#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "scheduler/cli/cli.h"

#define CELL_MAX 100 /* characters of a table's cell */

void out_json(const cJSON *tree)
{
	struct buf b = BUF_INIT;

	json_print(tree, &b);
	puts(b.data);
	buf_clear(&b);
}

static int width_of(const char *s)
{
	int n = 0;

	for (; *s; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

/* One line, no control characters: a cell must neither break the table nor steer the terminal. */
static char *cell(const cJSON *row, const char *path)
{
	const cJSON *v = json_path(row, path);
	struct buf b = BUF_INIT;
	int shown = 0;

	if (!v || cJSON_IsNull(v))
		buf_puts(&b, "-");
	else if (!json_scalar_text(v, &b))
		json_print(v, &b);
	buf_reserve(&b, 4);
	for (size_t i = 0; i < b.len; i++) {
		if ((unsigned char)b.data[i] < ' ' || b.data[i] == 0x7f)
			b.data[i] = ' ';
		shown += (b.data[i] & 0xc0) != 0x80;
		if (shown > CELL_MAX) {
			b.len = i;
			buf_puts(&b, "…");
			break;
		}
	}
	return buf_detach(&b);
}

static void print_cell(const char *text, int width, bool right, bool last)
{
	int pad = width - width_of(text);

	if (right)
		printf("%*s%s%s", pad, "", text, last ? "\n" : "  ");
	else if (last)
		printf("%s\n", text);
	else
		printf("%s%*s  ", text, pad, "");
}

void out_table(const cJSON *array, const struct out_column *columns, int n)
{
	int rows = cJSON_GetArraySize(array), r = 0;
	char **cells = mem_zalloc(sizeof(char *) * (size_t)(rows * n + 1));
	const cJSON *row;

	cJSON_ArrayForEach (row, array) {
		for (int i = 0; i < n; i++)
			cells[r * n + i] = cell(row, columns[i].path);
		r++;
	}
	int *width = mem_zalloc(sizeof(int) * (size_t)n);
	for (int i = 0; i < n; i++) {
		width[i] = width_of(columns[i].title);
		for (r = 0; r < rows; r++)
			width[i] = width_of(cells[r * n + i]) > width[i]
					   ? width_of(cells[r * n + i])
					   : width[i];
		print_cell(columns[i].title, width[i], columns[i].right, i == n - 1);
	}
	for (int i = 0; i < rows * n; i++) {
		print_cell(cells[i], width[i % n], columns[i % n].right, i % n == n - 1);
		free(cells[i]);
	}
	free(width);
	free(cells);
}

int out_list(const struct cli *c, cJSON *array, const struct out_column *columns, int n,
	     const char *none)
{
	if (c->json)
		out_json(array);
	else if (cJSON_GetArraySize(array) == 0)
		puts(none);
	else
		out_table(array, columns, n);
	cJSON_Delete(array);
	return EXIT_OK;
}

int out_object(const struct cli *c, cJSON *object)
{
	const cJSON *v;
	struct buf b = BUF_INIT;

	if (c->json)
		out_json(object);
	cJSON_ArrayForEach (v, object) {
		buf_reset(&b);
		if (c->json || cJSON_IsNull(v))
			continue;
		if (!json_scalar_text(v, &b))
			json_print(v, &b);
		printf("%-16s %s\n", v->string, buf_str(&b));
	}
	buf_clear(&b);
	cJSON_Delete(object);
	return EXIT_OK;
}

int out_value(const struct cli *c, const char *key, cJSON *value)
{
	struct buf b = BUF_INIT;
	cJSON *object = cJSON_CreateObject();

	if (!json_scalar_text(value, &b))
		json_print(value, &b);
	cJSON_AddItemToObject(object, key, value);
	if (c->json)
		out_json(object);
	else
		puts(b.data);
	buf_clear(&b);
	cJSON_Delete(object);
	return EXIT_OK;
}

void json_add_text(cJSON *object, const char *key, const char *value)
{
	cJSON_AddItemToObject(object, key, value ? cJSON_CreateString(value) : cJSON_CreateNull());
}

void json_add_int(cJSON *object, const char *key, int64_t n)
{
	cJSON_AddNumberToObject(object, key, (double)n);
}

void json_add_time(cJSON *object, const char *key, int64_t real_ms)
{
	char iso[CLOCK_ISO_MAX];

	json_add_text(object, key, real_ms ? clock_iso(real_ms, iso) : NULL);
}
