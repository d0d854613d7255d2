// cri speaks the Kubernetes Container Runtime Interface with containerd and CRI-O, for runh's tests. It is a module of its own: runh itself
// depends on none of this.
//
//	cri call SOCKET METHOD         the request as JSON on stdin, the response as JSON on stdout; METHOD as in "ImageService/ListImages",
//	                               without a service it is RuntimeService's
//	cri stream URL                 what Exec and Attach answered: stdin, stdout and stderr go through it, the exit code is the process's
//	cri forward URL PORT           what PortForward answered: stdin and stdout are one connection to PORT
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	_ "k8s.io/cri-api/pkg/apis/runtime/v1" // registers the messages
)

func main() {
	code, err := 0, errors.New("usage: cri call SOCKET METHOD | stream URL | forward URL PORT")
	switch args := os.Args[1:]; {
	case len(args) == 3 && args[0] == "call":
		err = call(args[1], args[2])
	case len(args) == 2 && args[0] == "stream":
		code, err = stream(args[1])
	case len(args) == 3 && args[0] == "forward":
		err = forward(args[1], args[2])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cri:", err)
		code = 255
	}
	os.Exit(code)
}

// call is one call of any method: the registered descriptors say which messages it takes and gives.
func call(socket, method string) error {
	if !strings.Contains(method, "/") {
		method = "RuntimeService/" + method
	}
	name := protoreflect.FullName("runtime.v1." + strings.ReplaceAll(method, "/", "."))
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil {
		return err
	}
	m, ok := d.(protoreflect.MethodDescriptor)
	if !ok {
		return fmt.Errorf("%s is no method", name)
	}
	in, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
	if err != nil {
		return err
	}
	out, err := protoregistry.GlobalTypes.FindMessageByName(m.Output().FullName())
	if err != nil {
		return err
	}
	request, response := in.New().Interface(), out.New().Interface()
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	if err := protojson.Unmarshal(text, request); err != nil {
		return err
	}
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := conn.Invoke(ctx, "/runtime.v1."+method, request, response); err != nil {
		return err
	}
	text, err = protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(response)
	if err == nil {
		_, err = os.Stdout.Write(text)
	}
	return err
}

// dial opens a stream in the WebSocket form of the kubelet's protocol: every message begins with the number of its channel.
func dial(address, protocol string) (*websocket.Conn, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	u.Scheme = "ws"
	c, err := websocket.NewConfig(u.String(), "http://"+u.Host)
	if err != nil {
		return nil, err
	}
	c.Protocol = []string{protocol}
	return websocket.DialConfig(c)
}

func send(ws *websocket.Conn, channel byte, data []byte) error {
	return websocket.Message.Send(ws, append([]byte{channel}, data...))
}

// stream: channel 0 is stdin, 1 stdout, 2 stderr, 3 how it ended.
func stream(address string) (int, error) {
	ws, err := dial(address, "v4.channel.k8s.io")
	if err != nil {
		return 0, err
	}
	defer ws.Close()
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := os.Stdin.Read(b)
			if n > 0 && send(ws, 0, b[:n]) != nil || err != nil {
				return // this form of the protocol has no end of stdin
			}
		}
	}()
	for {
		var b []byte
		if err := websocket.Message.Receive(ws, &b); err != nil {
			return 0, err
		}
		if len(b) == 0 {
			continue
		}
		switch b[0] {
		case 1:
			os.Stdout.Write(b[1:])
		case 2:
			os.Stderr.Write(b[1:])
		case 3:
			return ended(b[1:])
		}
	}
}

// ended reads a Kubernetes Status object.
func ended(text []byte) (int, error) {
	var s struct {
		Status, Message, Reason string
		Details                 struct {
			Causes []struct{ Reason, Message string }
		}
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return 0, fmt.Errorf("%w: %q", err, text)
	}
	if s.Status == "Success" {
		return 0, nil
	}
	for _, c := range s.Details.Causes {
		if c.Reason == "ExitCode" {
			return strconv.Atoi(c.Message)
		}
	}
	return 0, errors.New(s.Message)
}

// forward: channel 0 is the connection, 1 its error; each begins with the port.
func forward(address, port string) error {
	ws, err := dial(address+"?port="+port, "v4.channel.k8s.io")
	if err != nil {
		return err
	}
	defer ws.Close()
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := os.Stdin.Read(b)
			if n > 0 && send(ws, 0, b[:n]) != nil || err != nil {
				return
			}
		}
	}()
	var begun [2]bool
	for {
		var b []byte
		if err := websocket.Message.Receive(ws, &b); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if len(b) == 0 || b[0] > 1 {
			continue
		}
		switch data := b[1:]; {
		case !begun[b[0]]:
			begun[b[0]] = true
			if len(data) != 2 || strconv.Itoa(int(binary.LittleEndian.Uint16(data))) != port {
				return fmt.Errorf("the stream begins with %q, not with port %s", data, port)
			}
		case b[0] == 0:
			os.Stdout.Write(data)
		default:
			return errors.New(string(data))
		}
	}
}
