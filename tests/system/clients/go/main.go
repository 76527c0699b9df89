// client URL VERSION CA: Eclipse Paho's Go clients go round once with each QoS; prints "ok". VERSION is 4 or 5.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
	mqtt "github.com/eclipse/paho.mqtt.golang"
)

func fail(why ...any) {
	fmt.Fprintln(os.Stderr, why...)
	os.Exit(1)
}

func tlsConfig(ca string) *tls.Config {
	if ca == "" {
		return nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		fail(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: pool}
}

func wait(heard chan string) {
	seen := map[string]bool{}
	limit := time.After(15 * time.Second)
	for len(seen) < 3 {
		select {
		case each := <-heard:
			seen[each] = true
		case <-limit:
			fail("heard only", seen)
		}
	}
	fmt.Println("ok")
}

func version4(server string, ca string) {
	options := mqtt.NewClientOptions().AddBroker(server).SetClientID(fmt.Sprintf("go-4-%d", os.Getpid()))
	options.SetTLSConfig(tlsConfig(ca)).SetProtocolVersion(4).SetConnectTimeout(10 * time.Second)
	client := mqtt.NewClient(options)
	check := func(token mqtt.Token) {
		if token.WaitTimeout(10*time.Second) && token.Error() == nil {
			return
		}
		fail(token.Error())
	}
	check(client.Connect())
	heard := make(chan string, 10)
	check(client.Subscribe("interop/go/4", 2, func(_ mqtt.Client, message mqtt.Message) {
		heard <- fmt.Sprintf("%s %d", message.Payload(), message.Qos())
	}))
	for qos := byte(0); qos < 3; qos++ {
		check(client.Publish("interop/go/4", qos, false, fmt.Sprintf("qos %d", qos)))
	}
	wait(heard)
	client.Disconnect(250)
}

func version5(server string, ca string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	address, err := url.Parse(server)
	if err != nil {
		fail(err)
	}
	heard := make(chan string, 10)
	manager, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls:                    []*url.URL{address},
		TlsCfg:                        tlsConfig(ca),
		KeepAlive:                     30,
		CleanStartOnInitialConnection: true,
		ClientConfig: paho.ClientConfig{
			ClientID: fmt.Sprintf("go-5-%d", os.Getpid()),
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
				heard <- fmt.Sprintf("%s %d", r.Packet.Payload, r.Packet.QoS)
				return true, nil
			}},
		},
	})
	if err != nil {
		fail(err)
	}
	if err := manager.AwaitConnection(ctx); err != nil {
		fail(err)
	}
	subscription := paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "interop/go/5", QoS: 2}}}
	if _, err := manager.Subscribe(ctx, &subscription); err != nil {
		fail(err)
	}
	for qos := byte(0); qos < 3; qos++ {
		message := paho.Publish{Topic: "interop/go/5", QoS: qos, Payload: []byte(fmt.Sprintf("qos %d", qos))}
		if _, err := manager.Publish(ctx, &message); err != nil {
			fail(err)
		}
	}
	wait(heard)
	_ = manager.Disconnect(ctx)
}

func main() {
	if os.Args[2] == "4" {
		version4(os.Args[1], os.Args[3])
	} else {
		version5(os.Args[1], os.Args[3])
	}
}
