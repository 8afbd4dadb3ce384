/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of crispd's index that need no disk: objects by id, lists that are encoded once. */
#include "adapter/arena.c"
#include "adapter/packed.c"
#include "adapter/table.c"
#include "tap.h"

#include "cri.pb-c.h"

enum { MANY = 1000 };

static void test_table(void)
{
	struct table t = {0};
	static struct entry e[MANY];
	bool all = true;
	ok(!table_find(&t, "x") && !table_find_typed(&t, "abcd"), "an empty table has nothing");
	for (size_t i = 0; i < MANY; i++) {
		id_new(e[i].id);
		table_add(&t, &e[i]);
	}
	for (size_t i = 0; i < MANY; i++)
		all = all && table_find(&t, e[i].id) == &e[i];
	ok(all && t.n == MANY, "each of %d is found by its id", MANY);
	for (size_t i = 0; i < MANY; i += 2)
		table_del(&t, &e[i]);
	all = true;
	for (size_t i = 0; i < MANY; i++)
		all = all && table_find(&t, e[i].id) == (i % 2 ? &e[i] : NULL);
	for (size_t i = 0; i < t.n; i++)
		all = all && t.all[i]->at == i;
	ok(all && t.n == MANY / 2, "the half that was removed is gone, the other is there");
	char prefix[ID_SIZE];
	snprintf(prefix, sizeof prefix, "%.20s", e[1].id);
	ok(table_find_typed(&t, prefix) == &e[1], "a unique prefix is enough");
	prefix[3] = '\0';
	ok(!table_find_typed(&t, prefix), "three digits are not");
	memcpy(e[0].id, e[1].id, ID_SIZE);
	e[0].id[40] = e[0].id[40] == 'a' ? 'b' : 'a';
	table_add(&t, &e[0]);
	snprintf(prefix, sizeof prefix, "%.20s", e[1].id);
	ok(!table_find_typed(&t, prefix), "a prefix of two is none of them");
	ok(table_find(&t, e[0].id) == &e[0] && table_find(&t, e[1].id) == &e[1],
	   "though both have their id");
	ok(!table_find(&t, "../../../etc/passwd"), "what is no id is not looked for");
	table_release(&t);
}

static void test_packed(void)
{
	struct arena a = {0};
	Runtime__V1__ListContainersResponse plain = RUNTIME__V1__LIST_CONTAINERS_RESPONSE__INIT;
	Runtime__V1__ListContainersResponse lazy = RUNTIME__V1__LIST_CONTAINERS_RESPONSE__INIT;
	Runtime__V1__Container *list[3];
	uint8_t *packed[3];
	for (size_t i = 0; i < 3; i++) {
		size_t len;
		list[i] = NEW_MSG(&a, Runtime__V1__Container, runtime__v1__container);
		list[i]->id = arena_printf(&a, "id-%zu", i);
		/* Lengths of one, two and three bytes. */
		list[i]->image_ref = arena_alloc(&a, 20001);
		memset(list[i]->image_ref, 'x', i * i * 5000);
		packed[i] = packed_element(&list[i]->base, &len);
		packed_append(&lazy.base, &a, 3, packed[i], len);
	}
	plain.n_containers = 3;
	plain.containers = list;
	size_t n = protobuf_c_message_get_packed_size(&plain.base);
	ok(n == protobuf_c_message_get_packed_size(&lazy.base), "equal lengths: %zu", n);
	uint8_t *x = malloc(n), *y = malloc(n);
	protobuf_c_message_pack(&plain.base, x);
	protobuf_c_message_pack(&lazy.base, y);
	ok(memcmp(x, y, n) == 0, "elements encoded once give the bytes of the whole message");
	Runtime__V1__ListContainersResponse *back =
		runtime__v1__list_containers_response__unpack(NULL, n, y);
	ok(back && back->n_containers == 3 && strcmp(back->containers[2]->id, "id-2") == 0,
	   "and decode as such");
	Runtime__V1__Container *copy = (void *)packed_copy(&list[1]->base, &a);
	ok(copy && copy != list[1] && strcmp(copy->image_ref, list[1]->image_ref) == 0,
	   "a copy is deep");
	runtime__v1__list_containers_response__free_unpacked(back, NULL);
	for (size_t i = 0; i < 3; i++)
		free(packed[i]);
	free(x);
	free(y);
	arena_release(&a);
}

static void test_arena(void)
{
	struct arena a = {0};
	bool fine = true;
	for (size_t i = 1; i < 3000; i++) {
		unsigned char *p = arena_alloc(&a, i % 700);
		fine = fine && (uintptr_t)p % _Alignof(max_align_t) == 0;
		for (size_t k = 0; k < i % 700; k++)
			fine = fine && p[k] == 0;
		memset(p, 0xff, i % 700);
	}
	ok(fine, "aligned, zeroed, never twice the same");
	char *big = arena_alloc(&a, 1 << 20);
	big[(1 << 20) - 1] = 1;
	ok(strcmp(arena_printf(&a, "%s-%d", "a", 7), "a-7") == 0, "formatted text");
	arena_release(&a);
	arena_release(&a);
	ok(!a.head, "released twice is fine");
}

int main(void)
{
	test_arena();
	test_table();
	test_packed();
	return tap_done();
}
