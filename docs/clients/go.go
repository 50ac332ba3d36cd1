// MusterDB from Go, by go-redis: go mod init example; go get github.com/redis/go-redis/v9; go run go.go [port]
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/redis/go-redis/v9"
)

func must(reply *redis.Cmd) interface{} {
	value, err := reply.Result()
	if err != nil && err != redis.Nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	return value
}

func main() {
	port := "7878"
	if len(os.Args) > 1 {
		port = os.Args[1]
	}
	ctx := context.Background()
	muster := redis.NewClient(&redis.Options{
		Addr: "127.0.0.1:" + port,
		// Username: "app", Password: "secret", // where the server asks who it is
	})
	defer muster.Close()
	must(muster.Do(ctx, "SQL", "CREATE TABLE IF NOT EXISTS people (id BIGINT PRIMARY KEY, city TEXT, tags TEXT[])"))
	// Writes in a pipeline share a sync, and each has its own reply.
	writes := muster.Pipeline()
	for key := 1; key <= 2500; key++ {
		writes.Do(ctx, "SET", "people", key, "city", []string{"Kyoto", "Lima"}[key%2])
		writes.Do(ctx, "TAG", "people", key, "new")
	}
	replies, err := writes.Exec(ctx) // the first that was refused
	fmt.Println("written:", len(replies), "refused:", err)
	must(muster.Do(ctx, "SQL", "CREATE OR REPLACE STATIC AUDIENCE lima AS SELECT id FROM people WHERE city = 'Lima'"))
	fmt.Println("count:", must(muster.Do(ctx, "COUNT", "lima")))
	fmt.Println("contains 1, 2, 9999:", must(muster.Do(ctx, "CONTAINS", "lima", 1, 2, 9999)))
	// All members, a page at a time: the first value is the cursor of the next page, or nil after the last.
	members, page := 0, must(muster.Do(ctx, "MEMBERS", "lima", "LIMIT", 1000)).([]interface{})
	members += len(page[1].([]interface{}))
	for page[0] != nil {
		page = must(muster.Do(ctx, "MEMBERS", "lima", "AFTER", page[0], "LIMIT", 1000)).([]interface{})
		members += len(page[1].([]interface{}))
	}
	fmt.Println("members:", members)
	// The first row has the columns' names.
	question := "SELECT city, count(*) FROM people WHERE id <= $1 GROUP BY city ORDER BY city"
	fmt.Println("rows:", must(muster.Do(ctx, "SQL", question, 100)).([]interface{})[1:])
	if err := muster.Do(ctx, "COUNT", "nobody").Err(); err != nil {
		fmt.Println("refused:", err)
	}
}
