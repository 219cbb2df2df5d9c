// Press Run. Everybody who is here sees the output.
package main

import (
	"fmt"
	"time"

	"hello/greeting"
)

func main() {
	fmt.Println(greeting.For("world", time.Now()))

	squares := make(chan int)
	go func() {
		defer close(squares)
		for i := 1; i <= 5; i++ {
			squares <- i * i
		}
	}()
	for square := range squares {
		fmt.Println(square)
	}
}
